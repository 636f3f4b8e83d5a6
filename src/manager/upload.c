/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/upload.h"

#include "manager/agents.h"
#include "manager/channel.h"
#include "manager/parse.h"
#include "manager/ws.h"

#define STUCK_MS  60000  /* the agent takes nothing for so long */
#define FINISH_MS 120000 /* it has everything, and makes it durable */
#define PER_USER  16     /* of one user to one server, whose agent takes few from all */

struct transfer {
    struct list link; /* in manager.transfers */
    char user[UUID_LEN + 1];
    struct exchange *x; /* NULL when it has been answered */
    struct channel *channel;
    char id[UUID_LEN + 1];
    char *server; /* its agent writes */
    int64_t offset, size, received;
    struct buf early; /* what came before the agent did; reading is off, so this is one read's worth */
    bool up, ended;   /* ended: all has been sent */
    int64_t ended_at;
};

void upload_init(struct manager *m) { list_init(&m->transfers); }

static void transfer_free(struct transfer *t) {
    list_remove(&t->link);
    buf_done(&t->early);
    free(t->server);
    free(t);
}

/* The agent's event may still be on its way, on another connection; who is answered goes on from there at once. */
static void tell_core(const struct transfer *t) {
    struct core *core = t->x->m->core;
    const struct api_upload *u = core_upload(core, t->id);
    if (!u || t->received <= u->received)
        return;
    _cleanup_json_ json_t *event = json_pack("{s:s, s:{s:s, s:I}}", "event", "upload.received", "args", "upload", t->id,
                                             "received", (json_int_t)t->received);
    core_agent_message(core, t->server, event);
}

static void answer_done(struct transfer *t) {
    tell_core(t);
    struct exchange *x = TAKE_PTR(t->x);
    const struct api_upload *u = core_upload(x->m->core, t->id);
    x->on_gone = NULL;
    if (u)
        exchange_reply_json(x, 200, 0, api_upload_print(u, API_PUBLIC));
    else
        exchange_fail(x, ERR_NOT_FOUND, "the upload was deleted meanwhile");
}

static void answer_failed(struct transfer *t, const struct error *e) {
    struct exchange *x = TAKE_PTR(t->x);
    if (!x)
        return;
    x->on_gone = NULL;
    exchange_reply_error(x, e);
}

static void transfer_end(struct transfer *t, int code, const char *reason) {
    channel_close(t->channel, code, reason);
    transfer_free(t);
}

static void send_end(struct transfer *t) {
    t->ended = true;
    t->ended_at = manager_now(t->x->m);
    channel_send_text(t->channel, "{\"end\":true}");
}

/* ---- from the agent ---- */

static void on_up(void *ctx) {
    struct transfer *t = ctx;
    t->up = true;
    bool room = !t->early.len || channel_send_binary(t->channel, t->early.data, t->early.len);
    buf_done(&t->early);
    if (t->x->complete)
        send_end(t);
    else if (room && t->x->conn)
        conn_pause(t->x->conn, false);
}

static void on_text(void *ctx, const char *data, size_t len) {
    struct transfer *t = ctx;
    _cleanup_json_ json_t *j = NULL;
    if (json_parse(data, len, &j, NULL) < 0 || !json_is_object(j))
        return;
    json_t *error = json_object_get(j, "error");
    if (json_is_object(error)) {
        _cleanup_error_ struct error e = ERROR_INIT;
        if (t->x)
            core_agent_error(t->x->m->core, t->server, error, &e);
        answer_failed(t, &e);
        transfer_end(t, 1000, "the agent has said why");
        return;
    }
    int64_t received = json_int(j, "received", -1);
    if (received > t->received && received <= t->size)
        t->received = received;
    if (t->ended && t->received >= t->offset) {
        answer_done(t);
        transfer_end(t, 1000, "done");
    }
}

static void on_writable(void *ctx) {
    struct transfer *t = ctx;
    if (t->x->conn)
        conn_pause(t->x->conn, false);
}

static void on_ended(void *ctx, int code, const char *reason, const struct error *e) {
    struct transfer *t = ctx;
    answer_failed(t, e);
    transfer_free(t);
}

static void on_tick(void *ctx, int64_t now) {
    struct transfer *t = ctx;
    struct ws *w = channel_ws(t->channel);
    bool stuck = w && ws_queued(w) > 0 && now - ws_progress(w) > STUCK_MS;
    if (stuck || (t->ended && now - t->ended_at > FINISH_MS)) {
        _cleanup_error_ struct error e = ERROR_INIT;
        error_set(&e, ERR_TIMEOUT,
                  "the server's agent does not take the data; ask for the upload's state and go on from there");
        answer_failed(t, &e);
        transfer_end(t, CHANNEL_STUCK, "the agent does not take the data");
    } else if (t->x->conn && w && ws_queued(w) > 0) {
        conn_touch(t->x->conn); /* the wait is not the client's fault */
    }
}

static const struct channel_ops channel_ops = {
    .up = on_up, .text = on_text, .writable = on_writable, .ended = on_ended, .tick = on_tick};

/* ---- from the client ---- */

static void on_body(struct exchange *x, const void *data, size_t len) {
    struct transfer *t = x->ctx;
    if (!t->up)
        buf_add(&t->early, data, len);
    if (!t->up || !channel_send_binary(t->channel, data, len))
        conn_pause(x->conn, true);
}

static void on_complete(struct exchange *x) {
    struct transfer *t = x->ctx;
    if (t->up)
        send_end(t);
}

static void on_gone(struct exchange *x) {
    struct transfer *t = x->ctx;
    if (t->ended)
        return; /* all of it came: the agent's answer still counts, though nobody hears ours */
    t->x = NULL;
    transfer_end(t, CHANNEL_ABANDONED, "the client broke off");
    exchange_fail(x, ERR_CANCELLED, "the client broke off");
}

static int check_upload(struct exchange *x, const struct api_upload *u, int64_t offset, struct error *e) {
    if (x->content_length < 0)
        return error_set(e, ERR_INVALID, "Content-Length is missing; it says how many bytes follow");
    if (x->who.role != API_ROLE_ADMINISTRATOR && strcmp(u->owner, x->who.user) != 0 &&
        strcmp(u->owner, x->who.user_id) != 0)
        return error_set(e, ERR_FORBIDDEN, "this upload belongs to %s", u->owner);
    if (x->content_length > 0 && u->state == API_UPLOAD_STATE_COMPLETE)
        return error_set(e, ERR_CONFLICT, "the upload is complete and is not written again; make another one");
    if (core_locked(x->m->core, u->id))
        return error_set(e, ERR_CONFLICT, "a job is using the upload; it cannot be written to now");
    if (offset > u->received)
        return error_set_field(e, ERR_INVALID, "offset", "only %lld bytes have arrived; go on from there",
                               (long long)u->received);
    if (x->content_length > u->size - offset)
        return error_set(e, ERR_TOO_LARGE,
                         "the upload was announced with %lld bytes; %lld from offset %lld are too many",
                         (long long)u->size, (long long)x->content_length, (long long)offset);
    return 0;
}

static int check_number(const struct exchange *x, const char *server, struct error *e) {
    const struct transfer *t;
    size_t n = 0;
    list_for_each(t, &x->m->transfers, link) {
        if (strcmp(t->user, x->who.user_id) == 0 && strcmp(t->server, server) == 0)
            n++;
    }
    return n < PER_USER
               ? 0
               : error_set(e, ERR_RATE, "%s is sending %d files to this server already; wait until one is there",
                           x->who.user, PER_USER);
}

static void transfer_start(struct exchange *x, const struct api_upload *u, const char *server, int64_t offset) {
    struct transfer *t = xcalloc(1, sizeof *t);
    struct api_channel_open args;
    t->x = x;
    t->offset = t->received = offset;
    t->size = u->size;
    t->server = xstrdup(server);
    memcpy(t->user, x->who.user_id, sizeof t->user);
    list_append(&x->m->transfers, &t->link);
    snprintf(t->id, sizeof t->id, "%s", u->id);
    api_channel_open_init(&args);
    str_set(&args.type, "upload");
    str_set(&args.repository, u->repository);
    str_set(&args.upload, u->id);
    args.offset = offset;
    args.size = u->size;
    x->ctx = t;
    x->on_body = on_body;
    x->on_complete = on_complete;
    x->on_gone = on_gone;
    t->channel = channel_open(x->m, server, &args, &channel_ops, t);
    api_channel_open_done(&args);
    conn_pause(x->conn, true); /* until the agent is there */
}

void upload_begin(struct exchange *x) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct core *core = x->m->core;
    const struct api_upload *u = core_upload(core, x->route.params[0]);
    _cleanup_free_ char *text = conn_query(x->conn, "offset");
    int64_t offset = 0;
    const struct api_server *server = u ? core_repository_server(core, u->repository) : NULL;
    if (text && decimal_parse(text, &offset) < 0)
        error_set_field(&e, ERR_INVALID, "offset", "must be a decimal number");
    else if (!u)
        error_set(&e, ERR_NOT_FOUND, "there is no upload %s", x->route.params[0]);
    else if (check_upload(x, u, offset, &e) == 0 && (!server || !agents_connected(x->m, server->id)))
        error_set(&e, ERR_UNAVAILABLE, "the agent of the repository's server is not connected");
    else if (!e.code && x->content_length > 0)
        check_number(x, server->id, &e);
    if (e.code)
        exchange_reply_error(x, &e);
    else if (x->content_length == 0)
        exchange_reply_json(x, 200, 0, api_upload_print(u, API_PUBLIC));
    else
        transfer_start(x, u, server->id, offset);
}
