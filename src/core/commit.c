/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions. Everything that one event changes becomes one batch; what tells others about it waits in the
 * transaction until that batch, and all before it, is durable. Until then every change remembers the version that it
 * replaced, so that a failed commit takes the inventory back to exactly what the store has.
 *
 * After a failure the core is read-only: changes are refused, agents' messages dropped (they will say it again), and a
 * tick tries a small commit each second. When it succeeds, agents are made to reconnect and report, and jobs go on as
 * after a restart: recovery from a full disk and recovery from a crash are one path.
 */
#include "core/core_int.h"

#include <errno.h>
#include <stdio.h>

#define PROBE_INTERVAL_MS 1000

struct core_effect *effect_new(enum core_effect_kind kind) {
    struct core_effect *e = xcalloc(1, sizeof *e);
    e->kind = kind;
    list_init(&e->link);
    return e;
}

void core_effect_free(struct core_effect *e) {
    if (!e)
        return;
    list_remove(&e->link);
    batch_free(e->batch);
    free(e->text);
    free(e->server);
    free(e->object_id);
    free(e->before);
    free(e->filter);
    free(e->fields);
    free(e->items);
    free(e);
}

struct core_effect *core_next_effect(struct core *c) {
    struct core_effect *e = list_first(&c->effects, struct core_effect, link);
    if (e)
        list_remove(&e->link);
    return e;
}

const char *core_now(const struct core *c, char buf[static TIME_TEXT_MAX]) { return time_format(c->wall_ms, buf); }

/* UUIDv7 with a counter in rand_a (RFC 9562, 6.2 method 1): ids of one manager sort in the order in which they were
 * made. */
void core_new_id(struct core *c, char ret[static UUID_LEN + 1]) {
    if (c->wall_ms > c->last_id_ms) {
        c->last_id_ms = c->wall_ms;
        c->last_id_n = 0;
    } else if (++c->last_id_n > 0xfff) {
        c->last_id_ms++;
        c->last_id_n = 0;
    }
    uuid_make(&c->ids, c->last_id_ms, ret);
    char digits[8];
    snprintf(digits, sizeof digits, "%03x", c->last_id_n & 0xfff);
    memcpy(ret + 15, digits, 3);
}

void core_begin(struct core *c) {
    struct txn *t = xcalloc(1, sizeof *t);
    list_init(&t->link);
    list_init(&t->effects);
    t->revision = c->revision + 1;
    c->txn = t;
    c->deadline = -1;
}

static void txn_free(struct txn *t) {
    struct core_effect *e, *tmp;
    list_for_each_safe(e, tmp, &t->effects, link) core_effect_free(e);
    batch_free(t->batch);
    free(t->undo);
    free(t);
}

static void move_effects(struct list *from, struct list *to) {
    struct core_effect *e, *tmp;
    list_for_each_safe(e, tmp, from, link) {
        list_remove(&e->link);
        list_append(to, &e->link);
    }
}

/*
 * Effects of a transaction without changes: what tells of something not yet durable waits with it, the rest goes at
 * once. What is sent to an agent waits for everything under way: a call that is sent again may not be durable yet.
 */
static void release_unchanged(struct core *c, struct txn *t) {
    struct core_effect *e, *tmp;
    list_for_each_safe(e, tmp, &t->effects, link) {
        struct list *to = &c->effects;
        struct txn *p;
        list_for_each(p, &c->pending, link) if (p->seq == e->seq || e->kind == CORE_SEND) to = &p->effects;
        e->seq = 0;
        list_remove(&e->link);
        list_append(to, &e->link);
    }
}

void core_end(struct core *c) {
    struct txn *t = TAKE_PTR(c->txn);
    if (!t->batch) {
        release_unchanged(c, t);
        txn_free(t);
        return;
    }
    c->revision = t->revision;
    t->seq = ++c->seq;
    for (size_t i = 0; i < t->n_undo; i++) {
        struct object *o = t->undo[i].o;
        o->dirty = t->seq;
        c->tables[o->kind].dirty = t->seq;
    }
    struct core_effect *e = effect_new(CORE_COMMIT);
    e->seq = t->seq;
    e->batch = TAKE_PTR(t->batch);
    list_append(&c->effects, &e->link);
    list_append(&c->pending, &t->link);
    c->counts.commits++;
}

static void undo_changes(struct core *c, struct txn *t) {
    for (size_t i = t->n_undo; i-- > 0;) {
        struct undo *u = &t->undo[i];
        version_free(u->o->kind, object_swap(c, u->o, u->old, u->old_revision));
    }
}

/* Objects that were new in these transactions go, once every change has been taken back. */
static void forget_undone(struct core *c, struct txn *const *txns, size_t n_txns) {
    struct object **dead = NULL;
    size_t n = 0;
    for (size_t t = 0; t < n_txns; t++) {
        for (size_t i = 0; i < txns[t]->n_undo; i++) {
            struct object *o = txns[t]->undo[i].o;
            if (!o->v && !o->doomed) {
                dead = xreallocarray(dead, n + 1, sizeof(struct object *));
                dead[n++] = o;
                o->doomed = true;
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        object_forget(c, dead[i]);
    free(dead);
}

void core_cancel(struct core *c) {
    struct txn *t = TAKE_PTR(c->txn);
    undo_changes(c, t);
    forget_undone(c, &t, 1);
    txn_free(t);
}

static struct batch *txn_batch(struct core *c) {
    if (!c->txn->batch)
        c->txn->batch = batch_new();
    return c->txn->batch;
}

static void remember(struct txn *t, struct object *o, struct version *old, int64_t old_revision) {
    if (t->n_undo == t->cap_undo) {
        t->cap_undo = t->cap_undo ? t->cap_undo * 2 : 4;
        t->undo = xreallocarray(t->undo, t->cap_undo, sizeof *t->undo);
    }
    t->undo[t->n_undo++] = (struct undo){o, old, old_revision};
}

static void key_of(enum api_kind kind, const char *id, char *key, size_t size) {
    snprintf(key, size, "%s/%s", api_kinds[kind].name, id);
}

static struct object *object_for(struct core *c, enum api_kind kind, const char *id) {
    struct object *o = map_get(&c->tables[kind].by_id, id);
    if (!o) {
        o = xcalloc(1, sizeof *o);
        o->kind = kind;
        o->id = xstrdup(id);
        table_insert(c, o);
    }
    return o;
}

static struct core_effect *publication(const char *type, enum api_kind kind, const char *id, const struct version *v,
                                       int64_t revision) {
    struct core_effect *e = effect_new(CORE_PUBLISH);
    struct buf b = {0};
    buf_addf(&b, "{\"type\":\"%s\",\"revision\":%lld,\"kind\":\"%s\",\"id\":\"%s\"", type, (long long)revision,
             api_kinds[kind].name, id);
    if (v) {
        buf_adds(&b, ",\"object\":");
        version_write(kind, v, &b);
    }
    buf_addc(&b, '}');
    e->text = buf_take_fitted(&b); /* those of the last thousands of changes are kept */
    e->revision = revision;
    e->object_kind = api_kinds[kind].name;
    e->object_id = xstrdup(id);
    return e;
}

void core_put(struct core *c, enum api_kind kind, void *data) {
    char key[128];
    struct object *o = object_for(c, kind, kind_id(kind, data));
    *(int64_t *)((char *)data + api_kinds[kind].revision_offset) = c->txn->revision;
    if (kind == API_KIND_VM)
        protection_fill(c, data);
    key_of(kind, o->id, key, sizeof key);
    struct buf stored = {0};
    api_kinds[kind].write(data, API_PRIVATE, &stored);
    size_t len = stored.len;
    batch_put_take(txn_batch(c), key, buf_take(&stored), len);

    int64_t old_revision = o->revision;
    struct version *v = version_new(kind, data), *old = object_swap(c, o, v, c->txn->revision);
    remember(c->txn, o, old, old_revision);
    core_publish(c, "put", kind, o->id, v, c->txn->revision);
    alarms_observe(c, o);
    protection_observe(c, kind, old ? old->data : NULL, data);
}

/*
 * Where what is told of this object's version in memory goes: after the change of it that is not durable yet, which it
 * tells as well and whose failure takes it back; else at once. With whatever else this transaction changes it would
 * come after what a later one tells, and never if that fails.
 */
static struct list *effects_with(struct core *c, const struct object *o) {
    for (size_t i = c->txn->n_undo; i-- > 0;)
        if (c->txn->undo[i].o == o)
            return &c->txn->effects;
    struct txn *p;
    list_for_each(p, &c->pending, link) if (o->dirty && p->seq == o->dirty) return &p->effects;
    return &c->effects;
}

void core_put_volatile(struct core *c, enum api_kind kind, void *data) {
    struct object *o = core_find(c, kind, kind_id(kind, data));
    if (!o) {
        api_kinds[kind].done(data);
        free(data);
        return;
    }
    /* A version that a pending transaction would go back to is in its undo list, not here: replacing this one is safe.
     */
    version_free(kind, object_swap(c, o, version_new(kind, data), o->revision));
    list_append(effects_with(c, o), &publication("put", kind, o->id, o->v, o->revision)->link);
    alarms_observe(c, o);
}

void core_show(struct core *c, enum api_kind kind, void *data) {
    struct object *o = object_for(c, kind, kind_id(kind, data));
    *(int64_t *)((char *)data + api_kinds[kind].revision_offset) = c->revision;
    version_free(kind, object_swap(c, o, version_new(kind, data), c->revision));
    list_append(&c->effects, &publication("put", kind, o->id, o->v, c->revision)->link);
}

void core_remove(struct core *c, enum api_kind kind, const char *id) {
    char key[128];
    struct object *o = core_find(c, kind, id);
    if (!o)
        return;
    key_of(kind, o->id, key, sizeof key);
    batch_delete(txn_batch(c), key);
    int64_t old_revision = o->revision;
    remember(c->txn, o, object_swap(c, o, NULL, c->txn->revision), old_revision);
    core_publish(c, "delete", kind, o->id, NULL, c->txn->revision);
    alarms_forget(c, o->id);
}

void core_remove_stored(struct core *c, const char *key) { batch_delete(txn_batch(c), key); }

void core_reply(struct core *c, uint64_t request, int status, char *text, int64_t revision, uint64_t after) {
    struct core_effect *e = effect_new(CORE_REPLY);
    e->request = request;
    e->status = status;
    e->text = text;
    e->revision = revision;
    e->seq = after > c->durable ? after : 0;
    list_append(&c->txn->effects, &e->link);
}

static struct core_effect *error_reply(uint64_t request, const struct error *error) {
    struct core_effect *e = effect_new(CORE_REPLY);
    json_t *j = json_object();
    json_object_set_new(j, "error", error_print(error));
    e->request = request;
    e->status = error_http_status(error->code);
    e->text = json_text(j);
    json_decref(j);
    return e;
}

/* An error tells of no change: it goes out at once. */
void core_reply_error(struct core *c, uint64_t request, const struct error *error) {
    list_append(&c->effects, &error_reply(request, error)->link);
}

void core_send(struct core *c, const char *server, json_t *message) {
    struct core_effect *e = effect_new(CORE_SEND);
    e->server = xstrdup(server);
    e->text = json_text(message);
    json_decref(message);
    list_append(&c->txn->effects, &e->link);
}

void core_drop(struct core *c, const char *server) {
    struct core_effect *e = effect_new(CORE_DROP);
    e->server = xstrdup(server);
    list_append(&c->effects, &e->link);
}

void core_publish(struct core *c, const char *type, enum api_kind kind, const char *id, const struct version *v,
                  int64_t revision) {
    list_append(&c->txn->effects, &publication(type, kind, id, v, revision)->link);
}

static void txn_durable(struct core *c, struct txn *t) {
    c->durable = t->seq;
    for (size_t i = 0; i < t->n_undo; i++) {
        struct object *o = t->undo[i].o;
        bool again = false; /* a later change of the same object in this transaction owns the freeing */
        version_free(o->kind, t->undo[i].old);
        for (size_t k = i + 1; k < t->n_undo && !again; k++)
            again = t->undo[k].o == o;
        if (!again && !o->v && o->dirty == t->seq)
            object_forget(c, o);
    }
    move_effects(&t->effects, &c->effects);
}

static void txn_rollback(struct core *c, struct txn *t, const struct error *error) {
    undo_changes(c, t);
    struct core_effect *e;
    list_for_each(e, &t->effects, link) if (e->kind == CORE_REPLY || e->kind == CORE_HISTORY)
        list_append(&c->effects, &error_reply(e->request, error)->link);
}

/* Commits that have not been handed out yet must not reach the store after the failure. */
static void withdraw_commits(struct core *c) {
    struct core_effect *e, *tmp;
    list_for_each_safe(e, tmp, &c->effects, link) if (e->kind == CORE_COMMIT) {
        c->reported = e->seq;
        core_effect_free(e);
    }
}

static void all_failed(struct core *c, int result) {
    _cleanup_error_ struct error error = ERROR_INIT;
    if (result == -ENOSPC)
        error_set(&error, ERR_NO_SPACE,
                  "the manager's store is on a full disk; nothing was changed. Free some space there, "
                  "Tarn goes on by itself");
    else
        error_set(&error, ERR_READ_ONLY,
                  "the manager's store cannot be written (%s); nothing was changed. Tarn tries again "
                  "each second",
                  result == -EROFS ? "it is read-only" : "input/output error");
    struct txn *t, *tmp, **all = NULL;
    size_t n = 0;
    for (t = list_entry(c->pending.prev, struct txn, link); &t->link != &c->pending;
         t = list_entry(t->link.prev, struct txn, link)) {
        txn_rollback(c, t, &error);
        all = xreallocarray(all, n + 1, sizeof(struct txn *));
        all[n++] = t;
    }
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < all[k]->n_undo; i++)
            all[k]->undo[i].o->dirty = 0;
    forget_undone(c, all, n);
    free(all);
    withdraw_commits(c);
    list_for_each_safe(t, tmp, &c->pending, link) {
        list_remove(&t->link);
        txn_free(t);
    }
    c->failed_through = c->seq;
    c->counts.commit_failures++;
    c->read_only = true;
    c->probe_at = c->mono_ms + PROBE_INTERVAL_MS;
    for (int kind = 0; kind < API_KIND_COUNT; kind++)
        c->tables[kind].dirty = 0;
    alarms_read_only(c, error.message);
}

static void recovered(struct core *c) {
    c->read_only = false;
    c->probe_at = 0;
    core_begin(c);
    size_t pos = 0;
    void *value;
    while (map_next(&c->agents, &pos, NULL, &value)) {
        struct agent *a = value;
        if (a->connected)
            core_drop(c, a->server);
    }
    jobs_start(c);
    failover_start(c);
    alarms_writable(c);
    core_end(c);
}

void core_stored(struct core *c, uint64_t seq, int result) {
    if (result < 0 || c->read_only)
        c->deadline = -1;
    if (c->probe_seq && seq == c->probe_seq) {
        c->probe_seq = 0;
        if (result == 0)
            recovered(c);
        else
            c->probe_at = c->mono_ms + PROBE_INTERVAL_MS;
        return;
    }
    c->reported = seq;
    if (seq <= c->failed_through)
        return;
    if (result < 0) {
        all_failed(c, result);
        return;
    }
    struct txn *t = list_first(&c->pending, struct txn, link);
    if (!t || t->seq != seq)
        return;
    list_remove(&t->link);
    txn_durable(c, t);
    txn_free(t);
}

/* Called from the tick: a small commit that tells whether the store takes changes again. */
static void probe(struct core *c) {
    struct core_effect *e = effect_new(CORE_COMMIT);
    e->batch = batch_new();
    batch_put(e->batch, "meta/probe", "{}", 2);
    e->seq = c->probe_seq = ++c->seq;
    c->probe_at = 0;
    list_append(&c->effects, &e->link);
}

void core_commit_tick(struct core *c) {
    /* Not before every failed commit has come back: the store would take the probe for one of them. */
    if (c->read_only && !c->probe_seq && c->probe_at && c->mono_ms >= c->probe_at && c->reported >= c->failed_through)
        probe(c);
}

void core_commit_done(struct core *c) {
    struct txn *t, *tmp;
    list_for_each_safe(t, tmp, &c->pending, link) {
        for (size_t i = 0; i < t->n_undo; i++)
            version_free(t->undo[i].o->kind, t->undo[i].old);
        list_remove(&t->link);
        txn_free(t);
    }
    struct core_effect *e, *etmp;
    list_for_each_safe(e, etmp, &c->effects, link) core_effect_free(e);
}
