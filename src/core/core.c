/* SPDX-License-Identifier: Apache-2.0 */
/* Construction, requests, time. See core.h for the shape. */
#include "core/core_int.h"

#include <errno.h>
#include <stdio.h>

#define HISTORY_DEFAULT 2000

static void table_handlers(struct core *c);

struct core *core_new(const struct core_config *config) {
    struct core *c = xcalloc(1, sizeof *c);
    c->config = *config;
    if (!c->config.history)
        c->config.history = HISTORY_DEFAULT;
    idgen_init(&c->ids, config->seed);
    counts_init(c);
    c->search = search_new();
    list_init(&c->parked);
    list_init(&c->effects);
    list_init(&c->pending);
    list_init(&c->jobs);
    c->jobs_at = INT64_MAX;
    c->deadline = -1;
    table_handlers(c);
    for (int kind = 0; kind < API_KIND_COUNT; kind++)
        c->tables[kind] = (struct table){.unsorted = true, .by_id.borrows = true};
    return c;
}

void core_free(struct core *c) {
    if (!c)
        return;
    parked_done(c);
    recover_done(c);
    core_commit_done(c);
    jobs_done(c);
    locks_done(c);
    core_agents_done(c);
    loads_done(c);
    core_inventory_done(c);
    search_free(c->search);
    free(c);
}

void core_set_time(struct core *c, int64_t wall_ms, int64_t mono_ms) {
    c->wall_ms = wall_ms;
    c->mono_ms = mono_ms;
}

void core_set_client(struct core *c, const char *address) {
    snprintf(c->client, sizeof c->client, "%s", address ? address : "");
}

int core_load(struct core *c, const char *key, const char *value, size_t len, struct error *e) {
    const char *slash = strchr(key, '/');
    _cleanup_free_ char *word = xstrndup(key, slash ? (size_t)(slash - key) : strlen(key));
    int kind = api_kind_from_text(word);
    if (kind < 0)
        return str_eq(word, "meta") ? 0
                                    : error_set(e, ERR_VERSION,
                                                "the store holds \"%s\", which this version does not know; "
                                                "it was written by a newer Tarn: upgrade tarn-manager",
                                                key);
    _cleanup_json_ json_t *j = NULL;
    int r = json_parse(value, len, &j, e);
    if (r < 0)
        return error_set(e, ERR_IO, "the store is damaged: %s is not JSON; restore it from a backup", key);
    void *data = xcalloc(1, api_kinds[kind].size);
    _cleanup_error_ struct error why = ERROR_INIT;
    r = api_kinds[kind].parse(j, API_STORED, data, &why);
    if (r < 0) {
        free(data);
        return error_set(e, ERR_IO, "the store is damaged: %s: %s: %s", key, str_or(why.field, ""), why.message);
    }
    if (kind == API_KIND_REPOSITORY)
        repository_upgrade(data);
    if (kind == API_KIND_VM) /* stored before both were told apart */
        ((struct api_vm *)data)->watched |= ((struct api_vm *)data)->guarded;
    struct object *o = xcalloc(1, sizeof *o);
    o->kind = (enum api_kind)kind;
    o->id = xstrdup(kind_id(o->kind, data));
    struct object *old = map_get(&c->tables[kind].by_id, o->id);
    if (old)
        object_forget(c, old);
    table_insert(c, o);
    int64_t revision = *(int64_t *)((char *)data + api_kinds[kind].revision_offset);
    object_swap(c, o, version_new(o->kind, data), revision);
    if (revision > c->revision)
        c->revision = revision;
    return 0;
}

void core_start(struct core *c, int64_t revision) {
    if (revision > c->revision)
        c->revision = revision;
    for (int kind = 0; kind < API_KIND_COUNT; kind++)
        table_sort(&c->tables[kind], (enum api_kind)kind);
    /* New ids sort after all that there are, whatever the clock says. */
    static const enum api_kind ordered[] = {API_KIND_JOB, API_KIND_EVENT, API_KIND_ALARM};
    for (size_t i = 0; i < ARRAY_LEN(ordered); i++) {
        struct table *t = &c->tables[ordered[i]];
        if (!t->n)
            continue;
        char digits[16] = {0};
        memcpy(digits, t->sorted[t->n - 1]->id, 8);
        memcpy(digits + 8, t->sorted[t->n - 1]->id + 9, 4);
        int64_t ms = strtoll(digits, NULL, 16);
        if (ms > c->last_id_ms)
            c->last_id_ms = ms + 1;
    }
    c->started = true;
    c->began_at = c->mono_ms;
    core_agents_start(c);
    core_begin(c);
    jobs_start(c);
    failover_start(c);
    alarms_start(c);
    core_end(c);
    core_trim_history(c);
}

/* ---- requests ---- */

static const struct {
    const char *name;
    core_handler *handler;
} handlers[] = {
#define X(op) {#op, op_##op},
    API_CORE_OPS(X)
#undef X
};

static void table_handlers(struct core *c) {
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
        for (int op = 0; op < API_OP_COUNT; op++)
            if (strcmp(api_ops[op].name, handlers[i].name) == 0)
                c->handlers[op] = handlers[i].handler;
}

bool core_is_admin(const struct core_request *r) { return r->role == API_ROLE_ADMINISTRATOR; }

static bool is_read(const struct api_op *op) { return strcmp(op->method, "GET") == 0; }

void core_request(struct core *c, const struct core_request *r) {
    const struct api_op *op = &api_ops[r->op];
    _cleanup_error_ struct error e = ERROR_INIT;
    int result = 0;
    c->counts.requests++;
    if (!op->public && !op->self && !(op->roles & (1u << r->role)))
        result = error_set(&e, ERR_FORBIDDEN, "a user with the role %s may not do this (it takes the permission %s)",
                           api_role_text(r->role), op->permission);
    else if (!c->handlers[r->op])
        result = error_set(&e, ERR_INTERNAL, "the operation %s is not the core's", op->name);
    else if (c->read_only && !is_read(op))
        result = error_set(&e, ERR_READ_ONLY,
                           "the manager's store takes no changes now; Tarn tries again each second. See "
                           "the manager's log for the reason");
    if (result < 0) {
        core_reply_error(c, r->id, &e);
        return;
    }
    core_handle(c, r);
}

void core_handle(struct core *c, const struct core_request *r) {
    const struct api_op *op = &api_ops[r->op];
    _cleanup_error_ struct error e = ERROR_INIT;
    int64_t deadline = c->deadline;
    core_begin(c);
    const struct object *changed = op->body_is_change && op->kind >= 0 ? core_find(c, op->kind, r->params[0]) : NULL;
    int result = c->handlers[r->op](c, r, &e);
    if (result >= 0 && changed)
        undo_touched(c, changed->id);
    if (result < 0) {
        core_cancel(c);
        core_reply_error(c, r->id, &e);
    } else {
        core_end(c);
    }
    if (is_read(op)) /* nothing has happened */
        c->deadline = deadline;
}

struct object *core_param(struct core *c, const struct core_request *r, int i, enum api_kind kind, struct error *e) {
    struct object *o = core_find(c, kind, r->params[i]);
    if (!o)
        error_set(e, ERR_NOT_FOUND, "there is no %s \"%.*s\"", kind_word(kind), 128, r->params[i]);
    return o;
}

int core_check_if_match(const struct core_request *r, const struct object *o, struct error *e) {
    if (!r->if_match || str_eq(r->if_match, "*"))
        return 0;
    char *end;
    long long want = strtoll(r->if_match, &end, 10);
    if (*end || want != o->revision)
        return error_set(e, ERR_STALE,
                         "\"%s\" has been changed meanwhile (its revision is %lld): read it again and repeat the "
                         "change",
                         object_name(o), (long long)o->revision);
    return 0;
}

int core_check_name_free(struct core *c, enum api_kind kind, const char *name, const char *except_id, struct error *e) {
    const struct object *o = core_find(c, kind, name);
    if (o && !str_eq(o->id, except_id))
        return error_set_field(e, ERR_EXISTS, "name", "there is a%s %s with the name \"%s\" already",
                               kind == API_KIND_ISO ? "n" : "", kind_word(kind), name);
    return 0;
}

struct resolve {
    struct core *c;
    struct error *e;
};

static int resolve_ref(void *ctx, const char *kind, char **value, const char *field) {
    struct resolve *x = ctx;
    int k = api_kind_from_text(kind);
    const struct object *o = k >= 0 ? core_find(x->c, (enum api_kind)k, *value) : NULL;
    if (!o)
        return error_set_field(x->e, ERR_NOT_FOUND, field, "there is no %s \"%.*s\"", kind_word((enum api_kind)k), 128,
                               *value);
    str_set(value, o->id);
    return 0;
}

int core_resolve_refs(struct core *c, enum api_kind kind, void *data, struct error *e) {
    return api_kinds[kind].each_ref(data, resolve_ref, &(struct resolve){c, e});
}

struct api_repository *core_pick_repository(struct core *c, const char *id_or_name, struct error *e) {
    struct table *t = &c->tables[API_KIND_REPOSITORY];
    if (!str_empty(id_or_name)) {
        struct api_repository *r = core_data(c, API_KIND_REPOSITORY, id_or_name);
        if (!r)
            error_set_field(e, ERR_NOT_FOUND, "repository", "there is no storage repository \"%.*s\"", 128, id_or_name);
        else if (r->state != API_OBJECT_STATE_READY) {
            error_set_field(e, ERR_UNAVAILABLE, "repository", "storage repository \"%s\" is %s", r->name,
                            api_object_state_text(r->state));
            r = NULL;
        }
        return r;
    }
    struct api_repository *only = NULL;
    for (size_t i = 0; i < t->n; i++) {
        struct api_repository *r = t->sorted[i]->v->data;
        if (r->state != API_OBJECT_STATE_READY)
            continue;
        if (only) {
            error_set_field(e, ERR_INVALID, "repository", "there are several (\"%s\", \"%s\"%s): name one of them",
                            only->name, r->name, t->n > 2 ? ", …" : "");
            return NULL;
        }
        only = r;
    }
    if (!only)
        error_set_field(e, ERR_CONFLICT, "repository",
                        "there is no storage repository that is ready: create one first");
    return only;
}

/* ---- time ---- */

#define SWEEP_INTERVAL_MS 60000

static void sweep(struct core *c) {
    c->next_sweep = c->mono_ms + SWEEP_INTERVAL_MS;
    struct table *t = &c->tables[API_KIND_TOKEN];
    for (size_t i = t->n; i-- > 0;) {
        const struct api_token *tok = t->sorted[i]->v->data;
        int64_t expires;
        if (time_parse(tok->expires, &expires) == 0 && expires + 60000 < c->wall_ms)
            core_remove(c, API_KIND_TOKEN, tok->id);
    }
    for (size_t i = 0; i < c->tables[API_KIND_POOL].n; i++) {
        pool_check_room(c, c->tables[API_KIND_POOL].sorted[i]->v->data);
        pool_check_protection(c, c->tables[API_KIND_POOL].sorted[i]->v->data);
    }
    t = &c->tables[API_KIND_UPLOAD];
    for (size_t i = t->n; i-- > 0;) /* a job for each; an idle upload is thrown away after a day */
        core_upload_expire(c, t->sorted[i]->v->data);
    alarms_sweep(c);
    orders_sweep(c);
    cluster_sync_all(c);
}

void core_tick(struct core *c) {
    core_commit_tick(c);
    if (c->read_only)
        return;
    core_begin(c);
    core_agents_tick(c);
    failover_tick(c);
    jobs_tick(c);
    recover_tick(c);
    if (c->mono_ms >= c->next_sweep)
        sweep(c);
    core_end(c);
    core_trim_history(c);
}

static int64_t next_deadline(const struct core *c) {
    if (c->read_only)
        return c->probe_at ? c->probe_at : c->mono_ms + 1000;
    int64_t next = c->next_sweep, other = core_agents_deadline(c);
    if (other < next)
        next = other;
    other = failover_deadline(c);
    if (other < next)
        next = other;
    other = jobs_deadline(c);
    if (c->round)
        other = c->mono_ms;
    else if (c->recover_at && c->recover_at < other)
        other = c->recover_at;
    return other < next ? other : next;
}

/* Asked after every event, reads too, which are most of them: so it is looked for only when it may be another. */
int64_t core_next_deadline(struct core *c) {
    if (c->deadline < 0 || c->read_only)
        c->deadline = next_deadline(c);
    return c->deadline;
}

/* ---- questions ---- */

const struct api_token *core_token_by_hash(const struct core *c, const char *sha256_hex) {
    const struct table *t = &c->tables[API_KIND_TOKEN];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_token *tok = t->sorted[i]->v->data;
        if (str_eq(tok->hash, sha256_hex))
            return tok;
    }
    return NULL;
}

const struct api_user *core_user(const struct core *c, const char *id) { return core_data(c, API_KIND_USER, id); }
const struct api_server *core_server(const struct core *c, const char *id) { return core_data(c, API_KIND_SERVER, id); }
const struct api_pool *core_pool(const struct core *c, const char *id) { return core_data(c, API_KIND_POOL, id); }
const struct api_vm *core_vm(const struct core *c, const char *id) { return core_data(c, API_KIND_VM, id); }
const struct api_upload *core_upload(const struct core *c, const char *id) { return core_data(c, API_KIND_UPLOAD, id); }

const struct api_server *core_server_by_certificate(const struct core *c, const char *sha256_hex) {
    const struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (str_eq(s->certificate, sha256_hex))
            return s;
    }
    return NULL;
}

const struct api_server *core_repository_server(const struct core *c, const char *repository) {
    const struct api_repository *r = core_data(c, API_KIND_REPOSITORY, repository);
    return r ? core_server(c, repository_route(c, r, NULL)) : NULL;
}

bool core_locked(const struct core *c, const char *id) { return map_get(&c->locks, id) != NULL; }
bool core_read_only(const struct core *c) { return c->read_only; }
int64_t core_revision(const struct core *c) { return c->revision; }

void core_counts(const struct core *c, struct core_counts *ret) {
    *ret = c->counts;
    const struct job_run *run;
    list_for_each(run, &c->jobs, link) {
        const struct api_job *j = core_data(c, API_KIND_JOB, run->id);
        if (j && j->state == API_JOB_STATE_QUEUED)
            ret->jobs_queued++;
        else
            ret->jobs_active++;
    }
}
