/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/work.h"

#include "manager/loop.h"

#define BUDGET_NS 400000

static void on_idle(uv_idle_t *h) {
    struct manager *m = h->data;
    struct work *w;
    uint64_t until = uv_hrtime() + BUDGET_NS;
    do {
        w = list_first(&m->work, struct work, link);
        if (!w)
            break;
        list_remove(&w->link);
        const char *before = loop_at(m, w->what);
        if (w->go(m, w) && !list_linked(&w->link))
            list_append(&m->work, &w->link);
        loop_at(m, before);
    } while (uv_hrtime() < until);
    if (list_empty(&m->work))
        uv_idle_stop(h);
}

void work_init(struct manager *m) {
    list_init(&m->work);
    uv_idle_init(m->loop, &m->work_idle);
    m->work_idle.data = m;
}

void work_add(struct manager *m, struct work *w) {
    if (!list_linked(&w->link))
        list_append(&m->work, &w->link);
    if (!uv_is_active((uv_handle_t *)&m->work_idle))
        uv_idle_start(&m->work_idle, on_idle);
}

void work_remove(struct work *w) { list_remove(&w->link); }
