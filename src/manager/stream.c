/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/stream.h"

#include "manager/auth.h"
#include "manager/parse.h"
#include "manager/ring.h"
#include "manager/ws.h"

#define RING_ITEMS 8192
#define RING_BYTES (8 * 1024 * 1024)
#define AHEAD      65536 /* bytes queued on one connection */
#define PER_USER   100   /* streams: every change is sent on each of them */
#define PROGRESS   "{\"type\":\"progress\""

struct client {
    struct list link;
    struct manager *m;
    struct ws *ws;
    uint64_t position, live; /* live: where the backlog ends */
    bool resync, synced;
    unsigned kinds; /* bits of those it asks for */
    unsigned may;   /* and of those that the role may list */
    enum api_role role;
    char user[UUID_LEN + 1], token[65];
};

struct stream {
    struct ring ring;
    struct list clients;
    size_t n_clients;
    bool dirty;
};

struct stream *stream_new(int64_t revision) {
    struct stream *s = xcalloc(1, sizeof *s);
    ring_init(&s->ring, RING_ITEMS, RING_BYTES, revision);
    list_init(&s->clients);
    return s;
}

static void client_free(struct client *c) {
    c->m->stream->n_clients--;
    list_remove(&c->link);
    free(c);
}

void stream_free(struct stream *s) {
    if (!s)
        return;
    ring_done(&s->ring);
    free(s);
}

size_t stream_clients(const struct manager *m) { return m->stream->n_clients; }

/* Bits of the kinds in a list; false if one is not known. */
static bool kinds_parse(const char *list, unsigned *ret) {
    unsigned kinds = 0;
    while (*list) {
        size_t len = strcspn(list, ",");
        _cleanup_free_ char *name = xstrndup(list, len);
        int kind = api_kind_from_text(name);
        if (kind < 0)
            return false;
        kinds |= 1u << kind;
        list += len + (list[len] == ',');
    }
    *ret = kinds;
    return true;
}

static bool client_wants(const void *ctx, const char *kind) {
    const struct client *c = ctx;
    int k = api_kind_from_text(kind);
    return k >= 0 && (c->may & c->kinds & 1u << k);
}

static void send_mark(struct client *c, const char *type) {
    char text[96];
    int n =
        snprintf(text, sizeof text, "{\"type\":\"%s\",\"revision\":%lld}", type, (long long)core_revision(c->m->core));
    ws_send_text(c->ws, text, (size_t)n);
}

static void on_pull(struct ws *w, void *ctx) {
    struct client *c = ctx;
    struct ring *r = &c->m->stream->ring;
    if (c->resync) {
        c->resync = false;
        send_mark(c, "resync");
    }
    while (ws_queued(w) < AHEAD) {
        if (!c->synced && c->position >= c->live) {
            c->synced = true;
            send_mark(c, "synced");
        }
        if (c->position == r->next)
            return;
        const struct ring_item *it = ring_get(r, c->position);
        if (!it) {
            ws_close(w, 4008, "fell too far behind; connect again with since=REVISION");
            client_free(c);
            return;
        }
        c->position++;
        if ((!it->transient || c->synced) && client_wants(c, it->kind))
            ws_send_text(w, it->text, it->len);
    }
}

static void on_closed(struct ws *w, void *ctx, int code, const char *reason) { client_free(ctx); }

/* Whether the client may go on; otherwise it is gone. */
static bool client_check(struct client *c) {
    enum api_role role = API_ROLE_VIEWER;
    enum auth_change now_may = auth_still_valid(c->m, c->token, API_OP_STREAM, &role);
    if (now_may != AUTH_GOOD) {
        if (now_may == AUTH_DENIED)
            ws_close(c->ws, 4403, "the user's role has changed and has no stream");
        else
            ws_close(c->ws, 4401, "the session or token has ended; sign in again");
        client_free(c);
        return false;
    }
    if (role == c->role)
        return true;
    unsigned may = core_role_kinds(role), more = may & ~c->may;
    c->role = role;
    c->may = may;
    if (more) { /* it has never seen those objects */
        c->resync = true;
        ws_kick(c->ws);
    }
    return true;
}

void stream_publish(struct manager *m, int64_t revision, const char *kind, char *text) {
    ring_add(&m->stream->ring, revision, kind, text, strncmp(text, PROGRESS, sizeof PROGRESS - 1) == 0);
    m->stream->dirty = true;
}

void stream_flush(struct manager *m) {
    struct client *c, *tmp;
    if (!m->stream->dirty)
        return;
    m->stream->dirty = false;
    /* The change may be one of a role: what comes behind it is for the new one. */
    list_for_each_safe(c, tmp, &m->stream->clients, link) {
        if (client_check(c))
            ws_kick(c->ws);
    }
}

void stream_tick(struct manager *m) {
    struct client *c, *tmp;
    list_for_each_safe(c, tmp, &m->stream->clients, link) { client_check(c); }
}

static bool has_too_many(const struct exchange *x) {
    const struct client *c;
    size_t n = 0;
    list_for_each(c, &x->m->stream->clients, link) n += strcmp(c->user, x->who.user_id) == 0;
    return n >= PER_USER;
}

bool stream_upgrade(struct exchange *x) {
    static const struct ws_ops ops = {.pull = on_pull, .closed = on_closed};
    struct manager *m = x->m;
    int64_t since = 0;
    _cleanup_free_ char *text = conn_query(x->conn, "since");
    if (text && decimal_parse(text, &since) < 0) {
        exchange_fail(x, ERR_INVALID, "since must be a revision, a decimal number");
        return false;
    }
    _cleanup_free_ char *list = conn_query(x->conn, "kinds");
    unsigned kinds = ~0u;
    if (list && !kinds_parse(list, &kinds)) {
        exchange_fail(x, ERR_INVALID, "kinds must be a comma-separated list of kinds (vm, job, …)");
        return false;
    }
    if (has_too_many(x)) {
        exchange_fail(x, ERR_RATE, "%s has %d streams already; close those that nobody looks at", x->who.user,
                      PER_USER);
        return false;
    }
    struct client *c = xcalloc(1, sizeof *c);
    c->m = m;
    c->kinds = kinds;
    c->role = x->who.role;
    c->may = core_role_kinds(c->role);
    c->position = c->live = m->stream->ring.next;
    if (text)
        c->resync =
            since > core_revision(m->core) || !ring_resume(&m->stream->ring, since, client_wants, c, &c->position);
    memcpy(c->token, x->who.hash, sizeof c->token);
    memcpy(c->user, x->who.user_id, sizeof c->user);
    c->ws = exchange_accept_ws(
        x, &(struct ws_config){
               .ops = &ops, .ctx = c, .max_queue = 4 * 1024 * 1024, .ping_ms = 20000, .silence_ms = 60000});
    list_append(&m->stream->clients, &c->link);
    m->stream->n_clients++;
    return true;
}
