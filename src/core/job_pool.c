/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server joins a pool or leaves it. Its virtual machines come with it; when it leaves, those that other servers of
 * the pool can run stay in the pool, the others go with it, and nothing may run on it.
 *
 * A clustered pool has more to do on each of its members: that comes between the last check and "join", and after
 * "leave", as steps of its own.
 */
#include "core/core_int.h"

static const char *server_of(const struct job_ctx *x) { return json_str(x->job->args, "server"); }
static const char *pool_of(const struct job_ctx *x) { return x->job->object.id; }

void pool_member_steps(struct core *c, struct api_job *j, const struct job_kind *kind, const char *pool,
                       const char *server) {
    for (size_t i = 0; i < kind->n_steps; i++)
        job_add_step(j, kind, kind->steps[i].name, 0);
}

static void set_pool(struct core *c, const char *server, const char *pool) {
    struct api_server *s = CORE_COPY(server, SERVER, CORE_GET(c, server, SERVER, server));
    str_set(&s->pool, pool);
    core_put(c, API_KIND_SERVER, s);
}

static void set_vm_pool(struct core *c, const struct api_vm *vm, const char *pool) {
    struct api_vm *put = CORE_COPY(vm, VM, vm);
    str_set(&put->pool, pool);
    core_put(c, API_KIND_VM, put);
}

/* ---- add ---- */

static int add_check(struct job_ctx *x, struct error *e) {
    const struct api_pool *p = CORE_GET(x->c, pool, POOL, pool_of(x));
    const struct api_server *s = CORE_GET(x->c, server, SERVER, server_of(x));
    if (!p || !s)
        return error_set(e, ERR_NOT_FOUND, "the %s is gone", p ? "server" : "pool");
    if (str_eq(s->pool, p->id))
        return error_set(e, ERR_CONFLICT, "server \"%s\" is in the pool already", s->name);
    const struct api_pool *other = CORE_GET(x->c, pool, POOL, s->pool);
    if (other)
        return error_set(e, ERR_CONFLICT,
                         "server \"%s\" is in the pool \"%s\"; a server is in one pool: remove it there first", s->name,
                         other->name);
    if (!str_eq(p->cpu_baseline, "auto") && !server_has_cpu_model(s, p->cpu_model))
        return error_set(e, ERR_CONFLICT,
                         "server \"%s\" has not all features of the CPU model %s, which the pool's guests are given; "
                         "set the pool's cpu_baseline to auto or a lesser model",
                         s->name, p->cpu_model);
    int r = p->clustered ? pool_check_heartbeats(x->c, p->id, s, e) : 0;
    return r < 0 ? r : core_need_agent(x->c, s->id, e);
}

static int add_join(struct job_ctx *x, struct error *e) {
    const struct api_server *s = CORE_GET(x->c, server, SERVER, server_of(x));
    set_pool(x->c, s->id, pool_of(x));
    struct table *t = &x->c->tables[API_KIND_VM];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (str_eq(vm->server, s->id) && str_empty(vm->pool))
            set_vm_pool(x->c, vm, pool_of(x));
    }
    pool_refresh(x->c, pool_of(x));
    job_changed(x, API_KIND_SERVER, s->id, s->name, "changed", "is in the pool");
    return STEP_DONE;
}

static const struct job_step_def add_steps[] = {
    {"join", 1, false, add_join, NULL, NULL, NULL, false},
};
const struct job_kind job_pool_add = {
    .name = "pool.add", .steps = add_steps, .n_steps = ARRAY_LEN(add_steps), .check = add_check};

/* ---- remove ---- */

static bool vm_occupies(const struct api_vm *vm) {
    return vm->state != API_VM_STATE_STOPPED && vm->state != API_VM_STATE_CRASHED;
}

static int check_nothing_runs(struct core *c, const struct api_server *s, struct error *e) {
    struct table *t = &c->tables[API_KIND_VM];
    struct buf names = {0};
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if ((str_eq(vm->server, s->id) && vm_occupies(vm)) || str_eq(vm->target, s->id))
            if (n++ < 5)
                buf_addf(&names, "%s\"%s\"", names.len ? ", " : "", vm->name);
    }
    if (n > 5)
        buf_addf(&names, " and %zu more", n - 5);
    int r = n ? error_set(e, ERR_IN_USE,
                          "server \"%s\" has virtual machines that are not stopped: %s; put it into maintenance first, "
                          "or stop them",
                          s->name, names.data)
              : 0;
    buf_done(&names);
    return r;
}

static int check_no_rule_names(struct core *c, const struct api_server *s, struct error *e) {
    struct table *t = &c->tables[API_KIND_RULE];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_rule *rule = t->sorted[i]->v->data;
        for (size_t k = 0; k < rule->n_servers; k++)
            if (str_eq(rule->servers[k], s->id))
                return error_set(e, ERR_IN_USE, "the placement rule \"%s\" names server \"%s\": change the rule first",
                                 rule->name, s->name);
    }
    return 0;
}

static int remove_check(struct job_ctx *x, struct error *e) {
    const struct api_server *s = CORE_GET(x->c, server, SERVER, server_of(x));
    const struct api_pool *p = CORE_GET(x->c, pool, POOL, pool_of(x));
    if (!p || !s)
        return error_set(e, ERR_NOT_FOUND, "the %s is gone", p ? "server" : "pool");
    if (!str_eq(s->pool, p->id))
        return error_set(e, ERR_CONFLICT, "server \"%s\" is not in the pool \"%s\"", s->name, p->name);
    int r = check_nothing_runs(x->c, s, e);
    return r < 0 ? r : check_no_rule_names(x->c, s, e);
}

static int remove_leave(struct job_ctx *x, struct error *e) {
    const struct api_server *s = CORE_GET(x->c, server, SERVER, server_of(x));
    if (!s)
        return STEP_DONE;
    set_pool(x->c, s->id, "");
    struct table *t = &x->c->tables[API_KIND_VM];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (!str_eq(vm->server, s->id))
            continue;
        rules_forget_vm(x->c, vm->id);
        set_vm_pool(x->c, vm, "");
    }
    pool_refresh(x->c, pool_of(x));
    job_changed(x, API_KIND_SERVER, s->id, s->name, "changed", "is not in the pool any more");
    return STEP_DONE;
}

static const struct job_step_def remove_steps[] = {
    {"leave", 1, true, remove_leave, NULL, NULL, NULL, false},
};
const struct job_kind job_pool_remove = {
    .name = "pool.remove", .steps = remove_steps, .n_steps = ARRAY_LEN(remove_steps), .check = remove_check};
