/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server joins a pool or leaves it. Its virtual machines come with it; when it leaves, those that other servers of
 * the pool can run stay in the pool, the others go with it, and nothing may run on it.
 *
 * A clustered pool has more to do on each of its members: when this job has ended another one does it (cluster.c).
 */
#include "core/core_int.h"

static const char *server_of(const struct job_ctx *x) { return json_str(x->job->args, "server"); }
static const char *pool_of(const struct job_ctx *x) { return x->job->object.id; }

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

/* What is presented to the pool is presented to the new member before it counts as one. Known only now: the job may
   have waited for others. */
static int add_plan(struct job_ctx *x, const struct api_server *s, struct error *e) {
    struct table *t = &x->c->tables[API_KIND_REPOSITORY];
    int64_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_repository *r = t->sorted[i]->v->data;
        char proof[UUID_LEN + 1];
        if (!str_eq(r->pool, pool_of(x)) || repository_on(r, s->id))
            continue;
        int result = repository_check_path(x->c, r, s->id, e);
        bool left = !r->n_presented && r->state != API_OBJECT_STATE_CREATING; /* its last server was removed for good */
        if (result == 0 && !left)
            result = core_need_repository(x->c, r, e);
        if (result < 0)
            return result;
        core_new_id(x->c, proof);
        present_entry(x, r->id, s->id, proof);
        job_add_step(x->job, &job_pool_add, "prove storage", n);
        job_add_step(x->job, &job_pool_add, "present storage", n);
        job_add_step(x->job, &job_pool_add, "tidy", n++);
    }
    job_add_step(x->job, &job_pool_add, "join", 0);
    return 0;
}

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
    int r = pool_check_reach(x->c, p->id, s, e);
    if (r == 0 && p->clustered)
        r = pool_check_heartbeats(x->c, p->id, s, e);
    if (r == 0)
        r = core_need_agent(x->c, s->id, e);
    return r < 0 ? r : add_plan(x, s, e);
}

static void member_ended(struct job_ctx *x) {
    job_put_end(x);
    cluster_sync(x->c, pool_of(x));
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
    {"prove storage", 1, false, present_prove, NULL, present_tidy, NULL, false, ANYWHERE_DO | ANYWHERE_UNDO},
    {"present storage", 1, false, present_open, present_opened, present_close, present_closed, false},
    {"tidy", 1, false, present_tidy, NULL, NULL, NULL, false, ANYWHERE_DO},
    {"join", 1, false, add_join, NULL, NULL, NULL, false},
};
const struct job_kind job_pool_add = {
    .name = "pool.add", .steps = add_steps, .n_steps = ARRAY_LEN(add_steps), .check = add_check, .ended = member_ended};

/* ---- remove ---- */

int server_check_stopped(struct core *c, const struct api_server *s, struct error *e) {
    struct table *t = &c->tables[API_KIND_VM];
    struct buf names = {0};
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if ((str_eq(vm->server, s->id) && !vm_is_off(vm)) || str_eq(vm->target, s->id))
            if (n++ < 5)
                buf_addf(&names, "%s\"%s\"", names.len ? ", " : "", vm->name);
    }
    if (n > 5)
        buf_addf(&names, " and %zu more", n - 5);
    int r = n ? error_set(e, ERR_IN_USE,
                          "server \"%s\" has virtual machines that are not stopped: %s; move them away first (tarn "
                          "server maintenance on %s), or stop them",
                          s->name, names.data, s->name)
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

enum stays { GOES, STAYS, TORN };

/* A stopped virtual machine of the server: others of the pool can run it, or it belongs to this server alone; or it has
   storage of both kinds. */
static enum stays vm_stays(struct core *c, const struct api_vm *vm, const struct api_server *s) {
    bool shared = false, own = false;
    struct table *t = &c->tables[API_KIND_REPOSITORY];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_repository *r = t->sorted[i]->v->data;
        if (!vm_needs_repository(c, vm, r->id))
            continue;
        bool of_pool = str_eq(r->pool, s->pool);
        for (size_t k = 0; k < r->n_presented && !of_pool; k++) {
            const struct api_server *other = CORE_GET(c, server, SERVER, r->presented[k].server);
            of_pool = other && !str_eq(other->id, s->id) && str_eq(other->pool, s->pool);
        }
        shared |= of_pool;
        own |= !of_pool;
    }
    return shared && own ? TORN : shared ? STAYS : GOES;
}

/* The agent forgets those that stay in the pool, so that it does nothing with them any more. */
static int remove_plan(struct job_ctx *x, const struct api_server *s, struct error *e) {
    struct table *t = &x->c->tables[API_KIND_VM];
    json_t *vms = json_array();
    int64_t n = 0;
    json_object_set_new(x->job->args, "vms", vms);
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        enum stays stays = str_eq(vm->server, s->id) ? vm_stays(x->c, vm, s) : GOES;
        if (stays == TORN)
            return error_set(e, ERR_IN_USE,
                             "virtual machine \"%s\" has storage of the pool and of server \"%s\" alone: it could run "
                             "nowhere any more",
                             vm->name, s->name);
        if (stays == STAYS) {
            json_array_append_new(vms, json_string(vm->id));
            job_add_step(x->job, &job_pool_remove, "free guest", n++);
        }
    }
    job_add_step(x->job, &job_pool_remove, "leave", 0);
    t = &x->c->tables[API_KIND_REPOSITORY];
    n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_repository *r = t->sorted[i]->v->data;
        if (!str_eq(r->pool, s->pool) || !repository_on(r, s->id))
            continue;
        if (r->n_presented < 2)
            return error_set(
                e, ERR_IN_USE,
                "\"%s\" is the last server that has the pool's storage repository \"%s\": delete that first", s->name,
                r->name);
        present_entry(x, r->id, s->id, "");
        job_add_step(x->job, &job_pool_remove, "take storage away", n);
        job_add_step(x->job, &job_pool_remove, "close storage", n++);
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
    if (!core_agent_is_connected(x->c, s->id)) /* it can neither be emptied nor told that it is no member any more */
        return error_set(e, ERR_UNAVAILABLE,
                         "server \"%s\" is not connected: bring it back, or if it is gone for good remove it from "
                         "everything: tarn server delete %s --force",
                         s->name, s->name);
    int r = server_check_stopped(x->c, s, e);
    if (r == 0)
        r = check_no_rule_names(x->c, s, e);
    return r < 0 ? r : remove_plan(x, s, e);
}

static int remove_free(struct job_ctx *x, struct error *e) {
    const char *id = json_string_value(json_array_get(json_object_get(x->job->args, "vms"), (size_t)x->param));
    const struct api_vm *vm = CORE_GET(x->c, vm, VM, id);
    if (!vm || !str_eq(vm->server, server_of(x)))
        return STEP_DONE;
    if (!vm_is_off(vm) || map_get(&x->c->locks, vm->id))
        return error_set(e, ERR_IN_USE, "virtual machine \"%s\" is being worked on", vm->name);
    return job_call(x, server_of(x), API_AGENT_OP_GUEST_FORGET, json_pack("{s:s, s:s}", "vm", vm->id, "repository", ""),
                    e);
}

static int remove_freed(struct job_ctx *x, const json_t *result, struct error *e) {
    const char *id = json_string_value(json_array_get(json_object_get(x->job->args, "vms"), (size_t)x->param));
    const struct api_vm *vm = CORE_GET(x->c, vm, VM, id);
    if (!vm || !str_eq(vm->server, server_of(x)) || !vm_is_off(vm))
        return 0;
    struct api_vm *put = CORE_COPY(vm, VM, vm);
    str_set(&put->server, "");
    put->restarting = false; /* by whom? */
    core_put(x->c, API_KIND_VM, put);
    return 0;
}

static int remove_leave(struct job_ctx *x, struct error *e) {
    const struct api_server *s = CORE_GET(x->c, server, SERVER, server_of(x));
    if (!s)
        return STEP_DONE;
    char *unguarded = protection_without(x->c, s->id, true);
    if (unguarded)
        job_warn(x->job, unguarded);
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
    {"free guest", 1, false, remove_free, remove_freed, NULL, NULL, false},
    {"leave", 1, true, remove_leave, NULL, NULL, NULL, false},
    {"take storage away", 1, true, present_take_away, NULL, NULL, NULL, false},
    {"close storage", 1, true, present_close, NULL, NULL, NULL, false},
};
const struct job_kind job_pool_remove = {.name = "pool.remove",
                                         .steps = remove_steps,
                                         .n_steps = ARRAY_LEN(remove_steps),
                                         .check = remove_check,
                                         .ended = member_ended};
