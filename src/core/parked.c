/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads that would keep everybody else waiting. A handler that has done as much as may be done in one go, and is not
 * through, parks its request; it is called again, with the same request, in core_work(), which the shell calls between
 * other events. What it has found so far lies in what all may use (an order that is being made: order.c) or with the
 * parked request (a search), and is kept right as the inventory changes. So the answer, which is put together in the
 * last go, tells of one moment.
 *
 * They are gone on with one after the other, in the order in which they came: many that wait for the same order get it
 * together.
 */
#include "core/core_int.h"

#define SLICE 2048

size_t core_slice(const struct core *c) { return c->config.slice ? c->config.slice : SLICE; }

static void request_copy(struct core_request *to, const struct core_request *r) {
    *to = (struct core_request){.id = r->id,
                                .op = r->op,
                                .actor = xstrdup(r->actor),
                                .user_id = xstrdup(r->user_id),
                                .role = r->role,
                                .params = {xstrdup(r->params[0]), xstrdup(r->params[1])},
                                .args = r->args ? json_deep_copy(r->args) : NULL,
                                .query = {xstrdup(r->query.filter), xstrdup(r->query.sort), xstrdup(r->query.after),
                                          xstrdup(r->query.fields), r->query.limit}};
}

static void request_done(struct core_request *r) {
    const char *const texts[] = {r->actor,        r->user_id,    r->params[0],   r->params[1],
                                 r->query.filter, r->query.sort, r->query.after, r->query.fields};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free((char *)texts[i]);
    json_decref((json_t *)r->args);
}

struct parked *park(struct core *c, const struct core_request *r) {
    struct parked *p = c->resumed;
    if (!p) {
        p = xcalloc(1, sizeof *p);
        request_copy(&p->r, r);
        list_append(&c->parked, &p->link);
    }
    p->again = true;
    return p;
}

static void parked_free(struct core *c, struct parked *p) {
    search_run_free(c, p->search);
    request_done(&p->r);
    list_remove(&p->link);
    free(p);
}

bool core_has_work(const struct core *c) { return !list_empty(&c->parked); }

void core_work(struct core *c) {
    struct parked *p = list_first(&c->parked, struct parked, link);
    if (!p)
        return;
    p->again = false;
    c->resumed = p;
    core_handle(c, &p->r);
    c->resumed = NULL;
    if (!p->again)
        parked_free(c, p);
}

void parked_done(struct core *c) {
    struct parked *p, *tmp;
    list_for_each_safe(p, tmp, &c->parked, link) { parked_free(c, p); }
}
