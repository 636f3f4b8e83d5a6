/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on server pools and placement rules. */
#include "core/core_int.h"

#include <errno.h>
#include <stdio.h>

#define BANDWIDTH_MIN (1 << 20)

static void discard(enum api_kind kind, void *data) {
    api_kinds[kind].done(data);
    free(data);
}

/* ---- pools ---- */

static int check_baseline(const struct core *c, const struct api_pool *p, struct error *e) {
    const struct table *t = &c->tables[API_KIND_SERVER];
    if (str_eq(p->cpu_baseline, "auto") || str_eq(p->cpu_baseline, "host"))
        return 0;
    if (!cpu_model_known(p->cpu_baseline))
        return error_set_field(e, ERR_INVALID, "cpu_baseline",
                               "is auto, host, or one of QEMU's CPU models such as Nehalem, Haswell-noTSX, "
                               "Skylake-Server or EPYC (case counts); \"%.*s\" is none",
                               64, p->cpu_baseline);
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (str_eq(s->pool, p->id) && !server_has_cpu_model(s, p->cpu_baseline))
            return error_set_field(e, ERR_CONFLICT, "cpu_baseline",
                                   "server \"%s\" has not all features of the CPU model %s", s->name, p->cpu_baseline);
    }
    return 0;
}

/* The model follows from the members; guests that run keep theirs until they start again. */
void pool_refresh(struct core *c, const char *pool) {
    const struct api_pool *old = CORE_GET(c, pool, POOL, pool);
    if (!old)
        return;
    _cleanup_free_ char *model = pool_cpu_model(c, old);
    if (str_eq(model, old->cpu_model))
        return;
    struct api_pool *p = CORE_COPY(pool, POOL, old);
    if (!str_empty(old->cpu_model))
        core_event(c, API_SEVERITY_INFO, "tarn", "pool.cpu-model", API_KIND_POOL, p->id, p->name, NULL,
                   "Guests of pool %s are given the CPU %s from now on, not %s any more", p->name,
                   str_or(model, "of their server"), old->cpu_model);
    str_set(&p->cpu_model, model);
    core_put(c, API_KIND_POOL, p);
}

void pool_check_room(struct core *c, const struct api_pool *p) {
    struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (!str_eq(s->pool, p->id))
            continue;
        struct server_room room = pool_room(p, s);
        const struct server_load *l = server_load(c, s->id);
        char held[SIZE_TEXT_MAX], may[SIZE_TEXT_MAX];
        bool memory = room.memory >= 0 && l->memory > room.memory, cpus = room.cpus >= 0 && l->cpus > room.cpus;
        if (!memory && !cpus) {
            core_alarm_clear(c, s->id, "server.over-committed");
            continue;
        }
        _cleanup_free_ char *what =
            memory
                ? xasprintf("%s of memory where %s may be", size_format(l->memory, held), size_format(room.memory, may))
                : xasprintf("%lld virtual CPUs where %lld may be", (long long)l->cpus, (long long)room.cpus);
        core_alarm_raise(c, API_SEVERITY_WARNING, API_KIND_SERVER, s->id, s->name, "server.over-committed",
                         "Server %s holds more than pool %s allows: %s. What runs goes on; nothing new starts there",
                         s->name, p->name, what);
    }
}

/* One has to be left, or nothing highly available could be started any more. A pool that has none yet may be set up
   before its servers come. */
static int check_admission(const struct core *c, const struct api_pool *was, const struct api_pool *p,
                           struct error *e) {
    const struct table *t = &c->tables[API_KIND_SERVER];
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += str_eq(((const struct api_server *)t->sorted[i]->v->data)->pool, p->id);
    if (!n || p->admission_failures == was->admission_failures || p->admission_failures < (int64_t)n)
        return 0;
    return error_set_field(e, ERR_CONFLICT, "admission_failures",
                           "the pool has %zu server%s, of which one has to be left: the failure of at most %zu can be "
                           "provided for",
                           n, n == 1 ? "" : "s", n - 1);
}

/* So little is never meant: "10" for 10 MiB. */
static int check_bandwidth(const struct api_pool *p, struct error *e) {
    int64_t n = p->migration.bandwidth;
    return !p->has_migration || !n || n >= BANDWIDTH_MIN
               ? 0
               : error_set_field(e, ERR_INVALID, "migration.bandwidth",
                                 "%lld bytes in a second are less than 1 MiB, with which no move would end; 0 is no "
                                 "limit, and sizes have units: 100MiB",
                                 (long long)n);
}

int op_pool_create(struct core *c, const struct core_request *r, struct error *e) {
    struct api_pool *p = xcalloc(1, sizeof *p);
    char id[UUID_LEN + 1], now[TIME_TEXT_MAX];
    int result = api_pool_parse(r->body, API_CREATE, p, e);
    if (result < 0) {
        free(p);
        return result;
    }
    result = core_check_name_free(c, API_KIND_POOL, p->name, NULL, e);
    if (result == 0)
        result = check_baseline(c, p, e);
    if (result == 0)
        result = check_bandwidth(p, e);
    if (result < 0) {
        discard(API_KIND_POOL, p);
        return result;
    }
    core_new_id(c, id);
    str_set(&p->id, id);
    str_set(&p->created, core_now(c, now));
    str_take(&p->cpu_model, pool_cpu_model(c, p));
    p->has_migration = true;
    core_event(c, API_SEVERITY_INFO, r->actor, "pool.created", API_KIND_POOL, id, p->name, NULL,
               "%s created server pool %s", r->actor, p->name);
    core_put(c, API_KIND_POOL, p);
    core_reply_object(c, r->id, 201, core_find(c, API_KIND_POOL, id), NULL);
    return 0;
}

static bool restarts(const struct api_pool *p) { return p->clustered && p->failover == API_FAILOVER_POLICY_RESTART; }

#define GUARDS_NAMED 5

/* Nobody takes away by the way what others rely on. */
static int check_guards(const struct core *c, const struct api_pool *was, const struct api_pool *p, struct error *e) {
    const struct table *t = &c->tables[API_KIND_VM];
    size_t n = 0;
    if (!restarts(was) || restarts(p))
        return 0;
    _cleanup_buf_ struct buf names = {0};
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (!str_eq(vm->pool, p->id) || !vm->has_ha || !vm->ha.enabled)
            continue;
        _cleanup_free_ char *unguarded = vm_unguarded(c, vm); /* it loses nothing */
        if (unguarded)
            continue;
        if (n++ < GUARDS_NAMED)
            buf_addf(&names, "%s\"%s\"", n > 1 ? ", " : "", vm->name);
    }
    if (n > GUARDS_NAMED)
        buf_addf(&names, " and %zu more", n - GUARDS_NAMED);
    return n ? error_set_field(e, ERR_CONFLICT, "force",
                               "%zu of the pool's highly available virtual machines would no longer be restarted when "
                               "their server is lost: %s; with force it is done all the same",
                               n, names.data)
             : 0;
}

static int check_change(struct core *c, const struct core_request *r, const struct object *o, const void *next,
                        struct error *e) {
    const struct api_pool *p = next, *was = o->v->data;
    int result = check_baseline(c, p, e);
    if (result == 0)
        result = check_bandwidth(p, e);
    if (result == 0)
        result = check_admission(c, was, p, e);
    if (result == 0 && p->clustered && !was->clustered)
        result = pool_check_all_heartbeats(c, o->id, e);
    /* Of the request: an input is no part of the object. */
    bool force = json_is_true(json_object_get(r->body, "force"));
    return result == 0 && !force ? check_guards(c, was, p, e) : result;
}

int op_pool_change(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o;
    int result = core_change(c, r, API_KIND_POOL, check_change, &o, e);
    if (result < 0)
        return result;
    pool_refresh(c, o->id);
    cluster_sync(c, o->id);
    pool_check_room(c, o->v->data);
    cluster_check_proof(c, o->id);
    failover_look_pool(c, o->id);
    core_reply_object(c, r->id, 200, o, NULL);
    return 0;
}

int op_pool_delete(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_POOL, e);
    int result = o ? core_check_if_match(r, o, e) : -ENOENT;
    if (result < 0)
        return result;
    struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (str_eq(s->pool, o->id))
            return error_set(e, ERR_IN_USE,
                             "server \"%s\" is in the pool: remove it first with: tarn pool remove %s %s", s->name,
                             object_name(o), s->name);
    }
    t = &c->tables[API_KIND_VM];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (str_eq(vm->pool, o->id))
            return error_set(e, ERR_IN_USE, "virtual machine \"%s\" is in the pool: delete it first", vm->name);
    }
    if (map_get(&c->locks, o->id))
        return error_set(e, ERR_CONFLICT, "a job works on the pool");
    t = &c->tables[API_KIND_RULE];
    for (size_t i = t->n; i-- > 0;) {
        const struct api_rule *rule = t->sorted[i]->v->data;
        if (str_eq(rule->pool, o->id))
            core_remove(c, API_KIND_RULE, rule->id);
    }
    core_event(c, API_SEVERITY_INFO, r->actor, "pool.deleted", API_KIND_POOL, o->id, object_name(o), NULL,
               "%s deleted server pool %s", r->actor, object_name(o));
    core_remove(c, API_KIND_POOL, o->id);
    core_reply(c, r->id, 204, NULL, 0, 0);
    return 0;
}

/* ---- members ---- */

/* The pool of the path and the server of the body. */
static int member_args(struct core *c, const struct core_request *r, struct object **ret_pool,
                       const struct api_server **ret_server, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_POOL, e);
    struct api_pool_server in;
    int result = o ? core_check_if_match(r, o, e) : -ENOENT;
    if (result == 0)
        result = api_pool_server_parse(r->body, API_CREATE, &in, e);
    if (result < 0)
        return result;
    *ret_pool = o;
    *ret_server = CORE_GET(c, server, SERVER, in.server);
    if (!*ret_server)
        result = error_set_field(e, ERR_NOT_FOUND, "server", "there is no server \"%.*s\"", 128, in.server);
    api_pool_server_done(&in);
    return result;
}

static int member_job(struct core *c, const struct core_request *r, const struct job_kind *kind, bool adding,
                      struct error *e) {
    struct object *o;
    const struct api_server *s;
    int result = member_args(c, r, &o, &s, e);
    if (result < 0)
        return result;
    struct job_request q = {.kind = kind,
                            .actor = r->actor,
                            .request = r->id,
                            .object_kind = API_KIND_POOL,
                            .object_id = o->id,
                            .object_name = object_name(o),
                            .title = xasprintf("%s server %s %s pool %s", adding ? "Add" : "Remove", s->name,
                                               adding ? "to" : "from", object_name(o)),
                            .args = json_pack("{s:s}", "server", s->id)};
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_POOL, o->id, object_name(o), false);
    job_lock(j, API_KIND_SERVER, s->id, s->name, false);
    return job_submit(c, &q, j, e);
}

int op_pool_add(struct core *c, const struct core_request *r, struct error *e) {
    return member_job(c, r, &job_pool_add, true, e);
}

int op_pool_remove(struct core *c, const struct core_request *r, struct error *e) {
    return member_job(c, r, &job_pool_remove, false, e);
}

/* ---- rules ---- */

static int check_members(struct core *c, const struct api_rule *rule, struct error *e) {
    char field[48];
    for (size_t i = 0; i < rule->n_vms; i++) {
        const struct api_vm *vm = CORE_GET(c, vm, VM, rule->vms[i]);
        snprintf(field, sizeof field, "vms[%zu]", i);
        if (vm && !str_eq(vm->pool, rule->pool))
            return error_set_field(e, ERR_INVALID, field, "virtual machine \"%s\" is not in the pool of the rule",
                                   vm->name);
        for (size_t k = 0; k < i; k++)
            if (str_eq(rule->vms[i], rule->vms[k]))
                return error_set_field(e, ERR_INVALID, field, "is named twice");
    }
    for (size_t i = 0; i < rule->n_servers; i++) {
        const struct api_server *s = CORE_GET(c, server, SERVER, rule->servers[i]);
        snprintf(field, sizeof field, "servers[%zu]", i);
        if (s && !str_eq(s->pool, rule->pool))
            return error_set_field(e, ERR_INVALID, field, "server \"%s\" is not in the pool of the rule", s->name);
        for (size_t k = 0; k < i; k++)
            if (str_eq(rule->servers[i], rule->servers[k]))
                return error_set_field(e, ERR_INVALID, field, "is named twice");
    }
    return 0;
}

/* Whether a change may make a rule contradict others. */
static bool rule_differs(const json_t *patch) {
    static const char *const fields[] = {"type", "must", "vms", "tag", "servers"};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (json_object_get(patch, fields[i]))
            return true;
    return false;
}

static int check_rule(struct core *c, struct api_rule *rule, const char *id, struct error *e) {
    bool of_servers = rule->type == API_RULE_TYPE_ON_SERVERS || rule->type == API_RULE_TYPE_NOT_ON_SERVERS;
    int r = core_resolve_refs(c, API_KIND_RULE, rule, e);
    if (r == 0)
        r = core_check_name_free(c, API_KIND_RULE, rule->name, id, e);
    if (r < 0)
        return r;
    if (of_servers && !rule->n_servers)
        return error_set_field(e, ERR_INVALID, "servers", "is missing: a rule of type %s names servers",
                               api_rule_type_text(rule->type));
    if (!of_servers && rule->n_servers)
        return error_set_field(e, ERR_INVALID, "servers", "goes with rules of type on-servers and not-on-servers only");
    if (!rule->n_vms && str_empty(rule->tag))
        return error_set_field(e, ERR_INVALID, "vms",
                               "is missing: name virtual machines, or a tag that they have in common");
    return check_members(c, rule, e);
}

int op_rule_create(struct core *c, const struct core_request *r, struct error *e) {
    struct api_rule *rule = xcalloc(1, sizeof *rule);
    char id[UUID_LEN + 1], now[TIME_TEXT_MAX];
    int result = api_rule_parse(r->body, API_CREATE, rule, e);
    if (result < 0) {
        free(rule);
        return result;
    }
    result = check_rule(c, rule, NULL, e);
    if (result == 0)
        result = rules_check(c, rule, e);
    if (result < 0) {
        discard(API_KIND_RULE, rule);
        return result;
    }
    core_new_id(c, id);
    str_set(&rule->id, id);
    str_set(&rule->created, core_now(c, now));
    core_event(c, API_SEVERITY_INFO, r->actor, "rule.created", API_KIND_RULE, id, rule->name, NULL,
               "%s created placement rule %s", r->actor, rule->name);
    core_put(c, API_KIND_RULE, rule);
    core_reply_object(c, r->id, 201, core_find(c, API_KIND_RULE, id), NULL);
    return 0;
}

int op_rule_change(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_RULE, e);
    struct api_rule next;
    if (!o)
        return -ENOENT;
    int result = core_check_if_match(r, o, e);
    if (result == 0)
        result = api_rule_merge(o->v->data, r->body, &next, e);
    if (result < 0)
        return result;
    result = check_rule(c, &next, o->id, e);
    if (result == 0 && rule_differs(r->body))
        result = rules_check(c, &next, e);
    if (result < 0) {
        api_rule_done(&next);
        return result;
    }
    core_event(c, API_SEVERITY_INFO, r->actor, "rule.changed", API_KIND_RULE, o->id, next.name, NULL,
               "%s changed placement rule %s", r->actor, next.name);
    core_put(c, API_KIND_RULE, xmemdup(&next, sizeof next));
    core_reply_object(c, r->id, 200, o, NULL);
    return 0;
}

/* Who is gone is named nowhere any more. */
static bool strings_drop(char **list, size_t *n, const char *gone) {
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        if (str_eq(list[i], gone))
            free(list[i]);
        else
            list[kept++] = list[i];
    }
    bool changed = kept != *n;
    *n = kept;
    return changed;
}

static bool strings_have(char *const *list, size_t n, const char *text) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], text))
            return true;
    return false;
}

void rules_forget_vm(struct core *c, const char *vm) {
    struct table *t = &c->tables[API_KIND_RULE];
    for (size_t i = t->n; i-- > 0;) {
        const struct api_rule *rule = t->sorted[i]->v->data;
        if (!strings_have(rule->vms, rule->n_vms, vm))
            continue;
        struct api_rule *put = CORE_COPY(rule, RULE, rule);
        strings_drop(put->vms, &put->n_vms, vm);
        if (put->n_vms || !str_empty(put->tag)) {
            core_put(c, API_KIND_RULE, put);
            continue;
        }
        core_event(c, API_SEVERITY_INFO, "tarn", "rule.deleted", API_KIND_RULE, put->id, put->name, NULL,
                   "Placement rule %s is about no virtual machine any more and was deleted", put->name);
        core_remove(c, API_KIND_RULE, put->id);
        discard(API_KIND_RULE, put);
    }
}

void rules_forget_server(struct core *c, const char *server) {
    struct table *t = &c->tables[API_KIND_RULE];
    for (size_t i = t->n; i-- > 0;) {
        const struct api_rule *rule = t->sorted[i]->v->data;
        if (!strings_have(rule->servers, rule->n_servers, server))
            continue;
        struct api_rule *put = CORE_COPY(rule, RULE, rule);
        strings_drop(put->servers, &put->n_servers, server);
        if (put->n_servers) {
            core_put(c, API_KIND_RULE, put);
            continue;
        }
        core_event(c, API_SEVERITY_WARNING, "tarn", "rule.deleted", API_KIND_RULE, put->id, put->name, NULL,
                   "Placement rule %s is about no server any more and was deleted", put->name);
        core_remove(c, API_KIND_RULE, put->id);
        protection_rule(c, put);
        discard(API_KIND_RULE, put);
    }
}

void vm_remove(struct core *c, const char *vm) {
    rules_forget_vm(c, vm);
    struct table *t = &c->tables[API_KIND_VM];
    for (size_t i = t->n; i-- > 0;) {
        const struct api_vm *other = t->sorted[i]->v->data;
        if (!strings_have(other->ha.after, other->ha.n_after, vm))
            continue;
        struct api_vm *put = CORE_COPY(vm, VM, other);
        strings_drop(put->ha.after, &put->ha.n_after, vm);
        core_put(c, API_KIND_VM, put);
    }
    core_remove(c, API_KIND_VM, vm);
}

int op_rule_delete(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_RULE, e);
    int result = o ? core_check_if_match(r, o, e) : -ENOENT;
    if (result < 0)
        return result;
    core_event(c, API_SEVERITY_INFO, r->actor, "rule.deleted", API_KIND_RULE, o->id, object_name(o), NULL,
               "%s deleted placement rule %s", r->actor, object_name(o));
    struct api_rule *gone = CORE_COPY(rule, RULE, o->v->data);
    core_remove(c, API_KIND_RULE, gone->id);
    protection_rule(c, gone);
    discard(API_KIND_RULE, gone);
    core_reply(c, r->id, 204, NULL, 0, 0);
    return 0;
}
