/* SPDX-License-Identifier: Apache-2.0 */
/* GET /summary: the core's figures, and from the last samples what is in use and by whom. */
#include "manager/stats.h"

#define TOP 5

static void add_consumers(struct exchange *x, enum stats_metric metric, struct api_consumer **ret, size_t *n) {
    struct stats_top top[TOP];
    size_t found = stats_top(x->m, metric, top, TOP);
    *ret = xcalloc(found + 1, sizeof **ret);
    for (size_t i = 0; i < found; i++) {
        const struct api_vm *vm = core_vm(x->m->core, top[i].vm);
        if (!vm)
            continue;
        struct api_consumer *c = &(*ret)[(*n)++];
        api_consumer_init(c);
        str_set(&c->vm, vm->id);
        str_set(&c->name, vm->name);
        str_set(&c->server, vm->server);
        c->value = top[i].value;
    }
}

void summary_get(struct exchange *x) {
    struct api_summary s;
    api_summary_init(&s);
    core_summary(x->m->core, &s);
    stats_totals(x->m, &s.capacity.cpus_used, &s.capacity.memory_used);
    add_consumers(x, STATS_CPU, &s.top_cpu, &s.n_top_cpu);
    add_consumers(x, STATS_MEMORY, &s.top_memory, &s.n_top_memory);
    add_consumers(x, STATS_DISK, &s.top_disk, &s.n_top_disk);
    add_consumers(x, STATS_NETWORK, &s.top_network, &s.n_top_network);
    struct buf out = {0};
    api_summary_write(&s, API_PUBLIC, &out);
    api_summary_done(&s);
    exchange_reply(x, 200, 0, buf_take(&out));
}
