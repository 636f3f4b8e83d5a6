/* SPDX-License-Identifier: Apache-2.0 */
/* GET /summary: the core's figures, and from the last samples what is in use and by whom. */
#include "manager/stats.h"

static void add_consumers(struct exchange *x, const char *pool, enum stats_metric metric, struct api_consumer **ret,
                          size_t *n) {
    struct stats_top top[STATS_TOP_MAX];
    size_t found = stats_top(x->m, pool, metric, top);
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

static void summary_reply(struct exchange *x, const char *pool) {
    struct api_summary s;
    api_summary_init(&s);
    core_summary(x->m->core, pool, &s);
    stats_totals(x->m, pool, &s.capacity.cpus_used, &s.capacity.memory_used);
    add_consumers(x, pool, STATS_CPU, &s.top_cpu, &s.n_top_cpu);
    add_consumers(x, pool, STATS_MEMORY, &s.top_memory, &s.n_top_memory);
    add_consumers(x, pool, STATS_DISK, &s.top_disk, &s.n_top_disk);
    add_consumers(x, pool, STATS_NETWORK, &s.top_network, &s.n_top_network);
    struct buf out = {0};
    api_summary_write(&s, API_PUBLIC, &out);
    api_summary_done(&s);
    exchange_reply(x, 200, 0, buf_take(&out));
}

void summary_get(struct exchange *x) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct api_summary_query q;
    if (api_summary_query_parse(x->args, API_CREATE, &q, &e) < 0) {
        exchange_reply_error(x, &e);
        return;
    }
    const struct api_pool *pool = core_pool(x->m->core, q.pool);
    bool named = !str_empty(q.pool);
    api_summary_query_done(&q);
    if (named && !pool)
        exchange_fail(x, ERR_NOT_FOUND, "there is no such server pool");
    else
        summary_reply(x, pool ? pool->id : NULL);
}
