/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/internal.h"

#include <errno.h>
#include <limits.h>

#define STORE_RETRY_MS     500
#define STORE_RETRY_MAX_MS 5000
#define OPENING_MS         30000
#define ALONE_MS           30000 /* longer than the manager's restart takes */
#define HEARD_MS           1000  /* it says at once what is not this server's any more */

struct effect_item {
    struct host_effect e;
    uint64_t after;            /* held until this commit is durable; 0: until the next one that is handed out */
    const struct guest *about; /* a held guest.state */
    uint64_t answers;          /* the order of the op whose answer this is; 0: none */
    bool report;               /* a held report */
};

static struct effect_item *item_of(struct host_effect *e) { return container_of(e, struct effect_item, e); }

static struct host_effect *effect_new(enum host_effect_kind kind) {
    struct effect_item *i = xcalloc(1, sizeof(*i));
    i->e.kind = kind;
    return &i->e;
}

void host_effect_free(struct host_effect *e) {
    if (!e)
        return;
    batch_free(e->batch);
    free(e->text);
    json_decref(e->args);
    free(item_of(e));
}

struct host_effect *host_next_effect(struct host *h) {
    struct host_effect *e = list_first(&h->ready, struct host_effect, link);
    if (e)
        list_remove(&e->link);
    return e;
}

static void effects_free(struct list *effects) {
    struct host_effect *e, *next;
    list_for_each_safe(e, next, effects, link) {
        list_remove(&e->link);
        host_effect_free(e);
    }
}

/* ---- making effects ---- */

static void effect_add(struct host *h, struct host_effect *e, bool held) {
    list_append(held ? &h->pending : &h->ready, &e->link);
}

void host_send_text(struct host *h, char *text, bool held) {
    if (!h->connected) {
        free(text);
        return;
    }
    struct host_effect *e = effect_new(HOST_SEND);
    e->text = text;
    effect_add(h, e, held);
}

void host_send(struct host *h, json_t *frame, bool held) {
    if (h->connected)
        host_send_text(h, json_text(frame), held);
    json_decref(frame);
}

void host_send_state(struct host *h, const struct guest *g, json_t *frame) {
    host_send(h, frame, true);
    if (h->connected)
        item_of(list_entry(h->pending.prev, struct host_effect, link))->about = g;
}

static bool is_one_of(const struct effect_item *i, const struct guest *about, uint64_t answers) {
    return (about && i->about == about) || (answers && i->answers == answers) || (!about && !answers && i->report);
}

/* Returns how many there were. about NULL and answers 0: reports. */
static size_t unsend(struct host *h, const struct guest *about, uint64_t answers) {
    size_t n = 0;
    struct list *lists[] = {&h->pending, &h->held};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct host_effect *e, *next;
        list_for_each_safe(e, next, lists[i], link) {
            if (!is_one_of(item_of(e), about, answers))
                continue;
            list_remove(&e->link);
            host_effect_free(e);
            n++;
        }
    }
    return n;
}

void host_unsend_states(struct host *h, const struct guest *g) { unsend(h, g, 0); }

void host_send_answer(struct host *h, const struct op *op) {
    host_send_text(h, xstrdup(op->answer), true);
    if (h->connected)
        item_of(list_entry(h->pending.prev, struct host_effect, link))->answers = op->order;
}

void host_unsend_answer(struct host *h, const struct op *op) { unsend(h, NULL, op->order); }

void host_send_report(struct host *h, json_t *frame) {
    host_send(h, frame, true);
    if (h->connected)
        item_of(list_entry(h->pending.prev, struct host_effect, link))->report = true;
}

void host_renew_report(struct host *h) {
    if (unsend(h, NULL, 0))
        h->report_wanted = true;
}

struct call *host_call(struct host *h, enum call_purpose purpose, int op, json_t *args, bool held) {
    struct call *c = xcalloc(1, sizeof(*c));
    c->id = ++h->next_call;
    c->purpose = purpose;
    list_append(&h->calls, &c->link);
    struct host_effect *e = effect_new(HOST_CALL);
    e->call = c->id;
    e->op = op;
    e->args = args;
    effect_add(h, e, held);
    return c;
}

void host_call_free(struct host *h, struct call *c) {
    list_remove(&c->link);
    if (c->op)
        c->op->call = NULL;
    if (c->guest) {
        c->guest->n_calls--;
        host_guest_touch(h, c->guest);
    }
    free(c);
}

bool host_call_drop(struct host *h, struct call *c) {
    struct list *lists[] = {&h->pending, &h->held};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct host_effect *e, *next;
        list_for_each_safe(e, next, lists[i], link) {
            if (e->kind != HOST_CALL || e->call != c->id)
                continue;
            list_remove(&e->link);
            host_effect_free(e);
            host_call_free(h, c);
            return true;
        }
    }
    return false;
}

void host_cancel_call(struct host *h, uint64_t call) {
    struct host_effect *e = effect_new(HOST_CANCEL);
    e->call = call;
    effect_add(h, e, false);
}

void host_open_channel(struct host *h, json_t *args) {
    struct host_effect *e = effect_new(HOST_CHANNEL);
    e->args = args;
    effect_add(h, e, false);
}

void host_drop(struct host *h) {
    h->dropping = true;
    effect_add(h, effect_new(HOST_DROP), false);
}

/* ---- commits ---- */

void host_dirty(struct host *h, const char *kind, const char *id) {
    _cleanup_free_ char *key = xasprintf("%s/%s", kind, id);
    map_put(&h->dirty, key, h);
}

static const char *key_id(const char *key, const char *kind) {
    size_t n = strlen(kind);
    return strncmp(key, kind, n) == 0 && key[n] == '/' ? key + n + 1 : NULL;
}

/* The value that the key has in memory now, or NULL if it is to be deleted. */
static char *key_value(struct host *h, const char *key) {
    const char *id;
    if ((id = key_id(key, "guest"))) {
        struct guest *g = map_get(&h->guests, id);
        return g && g->r.kept ? host_guest_record_text(g) : NULL;
    }
    if ((id = key_id(key, "op"))) {
        struct op *op = map_get(&h->ops, id);
        return op && op->state != OP_WAITING ? op_record_text(op) : NULL;
    }
    if (key_id(key, "cluster"))
        return h->cluster.config ? xstrdup(h->cluster.config) : NULL;
    id = key_id(key, "repository");
    struct repository *r = host_repository_find(h, id);
    return r ? xstrdup(r->args) : NULL;
}

/* Everything that waits for "the next commit" waits for this one now. */
static void held_assign(struct host *h, uint64_t seq) {
    struct host_effect *e;
    list_for_each(e, &h->held, link) {
        if (item_of(e)->after == 0)
            item_of(e)->after = seq;
    }
    struct op *op;
    list_for_each(op, &h->fresh, fresh) {
        if (op->first_seq == 0)
            op->first_seq = seq;
    }
}

static void hand_out(struct host *h) {
    struct commit *c = xcalloc(1, sizeof(*c));
    c->seq = ++h->seq;
    c->keys = xcalloc(map_count(&h->dirty), sizeof(*c->keys));
    struct host_effect *e = effect_new(HOST_COMMIT);
    e->seq = c->seq;
    e->batch = batch_new();
    size_t pos = 0;
    const char *key;
    void *unused;
    while (map_next(&h->dirty, &pos, &key, &unused)) {
        char *value = key_value(h, key);
        if (value)
            batch_put_take(e->batch, key, value, strlen(value));
        else
            batch_delete(e->batch, key);
        c->keys[c->n_keys++] = xstrdup(key);
    }
    map_done(&h->dirty);
    list_append(&h->commits, &c->link);
    list_append(&h->ready, &e->link);
    held_assign(h, c->seq);
}

static void commit_free(struct commit *c) {
    for (size_t i = 0; i < c->n_keys; i++)
        free(c->keys[i]);
    free(c->keys);
    free(c);
}

/* What it says has ended waits for the manager's word from now on. */
static void report_leaves(struct host *h) {
    h->alone_until = h->mono + HEARD_MS;
    host_guest_touch_all(h);
}

static void held_release(struct host *h) {
    struct host_effect *e, *next;
    list_for_each_safe(e, next, &h->held, link) {
        uint64_t after = item_of(e)->after;
        if (after == 0 || after > h->durable)
            return;
        list_remove(&e->link);
        list_append(&h->ready, &e->link);
        if (item_of(e)->report)
            report_leaves(h);
    }
}

/* The end of every event: what it has changed goes into one commit, and what follows from it waits for that. */
static void flush(struct host *h) {
    struct host_effect *e, *next;
    list_for_each_safe(e, next, &h->pending, link) {
        list_remove(&e->link);
        item_of(e)->after = 0;
        list_append(&h->held, &e->link);
    }
    if (h->broken)
        return;
    if (map_count(&h->dirty))
        hand_out(h);
    else
        held_assign(h, h->seq);
    held_release(h);
}

static void forgotten_free(struct host *h) {
    struct op *op, *next;
    list_for_each_safe(op, next, &h->forgotten, link) op_free(op);
}

static void settle_once(struct host *h) {
    for (;;) {
        struct guest *g = list_first(&h->touched, struct guest, touched);
        if (g) {
            list_remove(&g->touched);
            host_guest_settle(h, g);
            continue;
        }
        op_schedule(h);
        if (!list_empty(&h->touched))
            continue;
        if (!h->report_wanted || !h->started || h->finding || h->opening)
            break;
        host_report_all(h);
        h->alone_until = NEVER; /* until it leaves */
        host_guest_touch_all(h);
    }
    flush(h);
}

void host_settle(struct host *h) {
    do
        settle_once(h);
    while (!list_empty(&h->touched));
    forgotten_free(h);
}

static void commit_done(struct host *h, struct commit *c) {
    h->durable = c->seq;
    h->broken = 0;
    h->retry_tries = 0;
    struct op *op, *next;
    list_for_each_safe(op, next, &h->fresh, fresh) {
        if (op->first_seq == 0 || op->first_seq > h->durable)
            break;
        list_remove(&op->fresh);
        host_record_free(op->before);
        op->before = NULL;
    }
    held_release(h);
}

static void commit_failed(struct host *h, struct commit *c, int result) {
    for (size_t i = 0; i < c->n_keys; i++)
        map_put(&h->dirty, c->keys[i], h);
    h->broken = result;
    struct host_effect *e;
    list_for_each(e, &h->held, link) {
        if (item_of(e)->after > h->durable)
            item_of(e)->after = 0;
    }
    op_refuse_fresh(h);
    if (list_empty(&h->commits)) {
        int64_t delay = (int64_t)STORE_RETRY_MS << (h->retry_tries < 4 ? h->retry_tries : 4);
        h->retry_at = h->mono + (delay < STORE_RETRY_MAX_MS ? delay : STORE_RETRY_MAX_MS);
        h->retry_tries++;
    }
}

void host_stored(struct host *h, uint64_t seq, int result) {
    struct commit *c = list_first(&h->commits, struct commit, link);
    if (!c || c->seq != seq)
        return;
    list_remove(&c->link);
    if (result == 0)
        commit_done(h, c);
    else
        commit_failed(h, c, result);
    commit_free(c);
    host_settle(h);
}

/* ---- life ---- */

struct host *host_new(const struct host_config *config) {
    struct host *h = xcalloc(1, sizeof(*h));
    h->config = *config;
    h->version = xstrdup(config->version);
    h->config.version = h->version;
    struct list *lists[] = {&h->repositories, &h->touched, &h->timed,    &h->calls,   &h->queue,
                            &h->server_queue, &h->running, &h->fresh,    &h->commits, &h->ready,
                            &h->held,         &h->pending, &h->forgotten};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_init(lists[i]);
    h->opening_until = h->cluster.retry_at = NEVER;
    h->seq = h->durable = 1; /* 0 stands for the next commit */
    return h;
}

void host_free(struct host *h) {
    if (!h)
        return;
    effects_free(&h->ready);
    effects_free(&h->held);
    effects_free(&h->pending);
    forgotten_free(h);
    struct call *call, *next_call;
    list_for_each_safe(call, next_call, &h->calls, link) free(call);
    struct commit *c, *next_c;
    list_for_each_safe(c, next_c, &h->commits, link) commit_free(c);
    struct repository *r, *next_r;
    list_for_each_safe(r, next_r, &h->repositories, link) host_repository_free(r);
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&h->ops, &pos, &key, &value))
        op_free(value);
    pos = 0;
    while (map_next(&h->guests, &pos, &key, &value))
        host_guest_free(value);
    map_done(&h->ops);
    map_done(&h->guests);
    map_done(&h->dirty);
    host_cluster_done(h);
    free(h->hello);
    free(h->version);
    free(h);
}

void host_set_time(struct host *h, int64_t wall_ms, int64_t mono_ms) {
    h->wall = wall_ms;
    h->mono = mono_ms;
}

int host_load(struct host *h, const char *key, const char *value, size_t len, struct error *e) {
    _cleanup_json_ json_t *j = NULL;
    int r = json_parse(value, len, &j, e);
    if (r < 0)
        return r;
    const char *id;
    if (json_is_object(j) && (id = key_id(key, "guest")) && uuid_valid(id))
        return host_guest_load(h, id, j, e);
    if (json_is_object(j) && (id = key_id(key, "op")) && *id && strlen(id) <= OP_ID_MAX)
        return op_load(h, id, j, e);
    if (json_is_object(j) && (id = key_id(key, "repository")) && uuid_valid(id))
        return host_repository_load(h, id, j, e);
    if (json_is_object(j) && key_id(key, "cluster"))
        return host_cluster_load(h, j, e);
    return error_set(e, ERR_VERSION, "the agent's store holds \"%.80s\", which this version does not know", key);
}

void host_start(struct host *h) {
    h->started = true;
    h->alone_until = h->mono + ALONE_MS;
    struct repository *r;
    list_for_each(r, &h->repositories, link) {
        r->first_open = true;
        h->opening++;
        host_repository_reopen(h, r);
    }
    if (h->opening)
        h->opening_until = h->mono + OPENING_MS;
    size_t pos = 0;
    void *value;
    while (map_next(&h->guests, &pos, NULL, &value)) {
        struct guest *g = value;
        g->first_find = g->before = true;
        h->finding++;
        host_guest_find(h, g);
    }
    host_cluster_start(h);
    op_resume_all(h);
    host_settle(h);
}

static char *hello_text(const struct api_agent_hello *hello) {
    _cleanup_json_ json_t *frame = host_event_frame(API_AGENT_EVENT_HELLO, api_agent_hello_print(hello, API_PUBLIC));
    return json_text(frame);
}

/* The first hello of a connection is the shell's to send, before there is a welcome; later ones say what has changed.
 */
void host_set_hello(struct host *h, const struct api_agent_hello *hello) {
    char *text = hello_text(hello);
    if (h->connected && !str_eq(text, h->hello))
        host_send_text(h, xstrdup(text), false);
    str_take(&h->hello, text);
}

void host_connected(struct host *h, const struct api_agent_welcome *welcome) {
    host_disconnected(h);
    h->connected = true;
    h->report_wanted = true;
    h->disowned = false;
    host_guest_touch_all(h);
    host_settle(h);
}

void host_disowned(struct host *h) {
    h->disowned = true;
    host_guest_touch_all(h);
    host_settle(h);
}

void host_disconnected(struct host *h) {
    h->connected = h->dropping = false;
    h->report_wanted = false;
    if (h->alone_until == NEVER) /* a report has not left */
        h->alone_until = h->mono + ALONE_MS;
    op_drop_orders(h);
    struct list *lists[] = {&h->ready, &h->held, &h->pending};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct host_effect *e, *next;
        list_for_each_safe(e, next, lists[i], link) {
            if (e->kind != HOST_SEND)
                continue;
            list_remove(&e->link);
            host_effect_free(e);
        }
    }
    host_guest_touch_all(h); /* what waited for a report */
    host_settle(h);
}

/* ---- calls, guests' events, time ---- */

void host_call_done(struct host *h, uint64_t call, const struct error *error, const json_t *result) {
    if (error && error->code == ERR_OK)
        error = NULL;
    struct call *c;
    list_for_each(c, &h->calls, link) {
        if (c->id == call)
            break;
    }
    if (&c->link == &h->calls)
        return;
    if (c->purpose == CALL_CLUSTER) {
        host_call_free(h, c);
        host_cluster_reconfigured(h, error);
    } else if (c->purpose == CALL_REOPEN) {
        struct repository *r = c->repository;
        host_call_free(h, c);
        if (r)
            host_repository_reopened(h, r, error, result);
    } else if (c->guest) {
        host_guest_call_done(h, c, error, result);
    } else {
        struct op *op = c->op;
        host_call_free(h, c);
        op_done_call(h, op, error, result);
    }
    host_settle(h);
}

void host_call_progress(struct host *h, uint64_t call, int percent, const char *message) {
    struct call *c;
    list_for_each(c, &h->calls, link) {
        if (c->id == call && c->op) {
            host_report_progress(h, c->op, percent, message);
            return;
        }
    }
}

void host_guest_event(struct host *h, const char *vm, enum guest_event event, const char *reason) {
    struct guest *g = map_get(&h->guests, vm);
    if (!g || !g->r.kept)
        return;
    host_guest_happens(h, g, event, str_or(reason, ""));
    host_settle(h);
}

void host_tick(struct host *h) {
    if (!h->started)
        return;
    if (h->mono >= h->opening_until) {
        h->opening_until = NEVER;
        h->opening = 0;
        host_guest_touch_all(h);
    }
    if (h->broken && list_empty(&h->commits) && h->mono >= h->retry_at)
        hand_out(h);
    struct guest *g, *next;
    list_for_each_safe(g, next, &h->timed, timed) {
        if (h->mono >= g->at)
            host_guest_tick(h, g);
    }
    struct repository *r;
    list_for_each(r, &h->repositories, link) {
        if (h->mono >= r->retry_at)
            host_repository_reopen(h, r);
    }
    host_cluster_tick(h);
    host_settle(h);
}

int64_t host_next_deadline(const struct host *h) {
    int64_t at = h->opening_until;
    if (h->broken && list_empty(&h->commits) && h->retry_at < at)
        at = h->retry_at;
    const struct guest *g;
    list_for_each(g, &h->timed, timed) {
        if (g->at < at)
            at = g->at;
    }
    const struct repository *r;
    list_for_each(r, &h->repositories, link) {
        if (r->retry_at < at)
            at = r->retry_at;
    }
    if (h->cluster.retry_at < at)
        at = h->cluster.retry_at;
    return at;
}

void host_each_guest(const struct host *h, host_guest_visitor *visit, void *ctx) {
    size_t pos = 0;
    const char *vm;
    void *value;
    while (map_next(&h->guests, &pos, &vm, &value)) {
        const struct guest *g = value;
        if (g->r.kept)
            visit(ctx, vm, g->r.state);
    }
}
