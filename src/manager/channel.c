/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/channel.h"

#include "manager/agents.h"
#include "manager/ws.h"
#include "os/x509.h"

#define DIAL_MS  10000
#define ID_BYTES 16

struct channel {
    struct manager *m;
    char id[2 * ID_BYTES + 1];
    char server[UUID_LEN + 1];
    const struct channel_ops *ops;
    void *ctx;
    struct ws *ws; /* the agent's, from its dial on */
    bool up;
    int64_t asked;
};

static void channel_free(struct channel *ch) {
    map_remove(&ch->m->channels, ch->id);
    free(ch);
}

static void channel_end(struct channel *ch, int code, enum error_code error, const char *reason) {
    _cleanup_error_ struct error e = ERROR_INIT;
    _cleanup_free_ char *copy = xstrdup(reason);
    error_set(&e, error, "%s", copy);
    const struct channel_ops *ops = ch->ops;
    void *ctx = ch->ctx;
    if (ch->ws)
        ws_close(ch->ws, code, copy);
    channel_free(ch);
    ops->ended(ctx, code, copy, &e);
}

struct channel *channel_open(struct manager *m, const char *server, const struct api_channel_open *args,
                             const struct channel_ops *ops, void *ctx) {
    struct channel *ch = xcalloc(1, sizeof *ch);
    ch->m = m;
    ch->ops = ops;
    ch->ctx = ctx;
    ch->asked = manager_now(m);
    random_hex(ID_BYTES, ch->id);
    snprintf(ch->server, sizeof ch->server, "%s", server);
    map_put(&m->channels, ch->id, ch);
    json_t *j = json_object(), *a = api_channel_open_print(args, API_PRIVATE);
    json_set_str(a, "channel", ch->id);
    json_object_set_new(j, "id", json_sprintf(CHANNEL_OP "%s", ch->id));
    json_set_str(j, "op", api_agent_ops[API_AGENT_OP_CHANNEL_OPEN].name);
    json_object_set_new(j, "args", a);
    _cleanup_free_ char *text = json_text(j);
    json_decref(j);
    agents_send(m, server, text);
    return ch;
}

bool channel_send_text(struct channel *ch, const char *text) { return ws_send_text(ch->ws, text, strlen(text)); }
bool channel_send_binary(struct channel *ch, const void *data, size_t len) { return ws_send_binary(ch->ws, data, len); }
struct ws *channel_ws(struct channel *ch) {
    return ch->ws;
}

void channel_pause(struct channel *ch, bool pause) {
    if (ch->ws)
        ws_pause(ch->ws, pause);
}

void channel_close(struct channel *ch, int code, const char *reason) {
    if (ch->ws)
        ws_close(ch->ws, code, reason);
    channel_free(ch);
}

/* ---- the agent's dial ---- */

static void on_open(struct ws *w, void *ctx) {
    struct channel *ch = ctx;
    ch->up = true;
    ch->ops->up(ch->ctx);
}

static void on_text(struct ws *w, void *ctx, const char *data, size_t len) {
    struct channel *ch = ctx;
    if (ch->ops->text)
        ch->ops->text(ch->ctx, data, len);
}

static void on_binary(struct ws *w, void *ctx, const void *data, size_t len) {
    struct channel *ch = ctx;
    if (ch->ops->binary)
        ch->ops->binary(ch->ctx, data, len);
}

static void on_writable(struct ws *w, void *ctx) {
    struct channel *ch = ctx;
    if (ch->ops->writable)
        ch->ops->writable(ch->ctx);
}

static void on_closed(struct ws *w, void *ctx, int code, const char *reason) {
    struct channel *ch = ctx;
    ch->ws = NULL;
    if (code == 1006)
        channel_end(ch, CHANNEL_AGENT_LOST, ERR_UNAVAILABLE, "the connection to the server's agent was lost");
    else if (code >= 4000)
        channel_end(ch, code, ERR_UNAVAILABLE, *reason ? reason : "the server's agent ended it");
    else
        channel_end(ch, CHANNEL_CLOSED, ERR_UNAVAILABLE, *reason ? reason : "the server's agent ended it");
}

bool channel_upgrade(struct exchange *x, const char *server, const char *id) {
    static const struct ws_ops ops = {
        .open = on_open, .text = on_text, .binary = on_binary, .writable = on_writable, .closed = on_closed};
    struct channel *ch = map_get(&x->m->channels, id);
    if (!ch || ch->ws || strcmp(ch->server, server) != 0) {
        exchange_fail(x, ERR_NOT_FOUND, "there is no such channel; its deadline may have passed");
        return false;
    }
    ch->ws = exchange_accept_ws(x, &(struct ws_config){.ops = &ops,
                                                       .ctx = ch,
                                                       .max_text = 65536,
                                                       .max_queue = 8 * 1024 * 1024,
                                                       .ping_ms = 5000,
                                                       .silence_ms = 15000});
    return true;
}

void channel_answered(struct manager *m, const char *server, const char *id, const json_t *message) {
    struct channel *ch = map_get(&m->channels, id);
    if (!ch || strcmp(ch->server, server) != 0 || json_bool(message, "ok", false))
        return;
    _cleanup_error_ struct error e = ERROR_INIT;
    core_agent_error(m->core, server, json_object_get(message, "error"), &e);
    channel_end(ch, CHANNEL_REFUSED, e.code, e.message);
}

void channel_agent_lost(struct manager *m, const char *server) {
    /* Ending one may end another (both of a client's), so that the walk begins again after each. */
    for (;;) {
        size_t pos = 0;
        void *value;
        struct channel *found = NULL;
        while (!found && map_next(&m->channels, &pos, NULL, &value)) {
            struct channel *ch = value;
            /* One that is up lives on its own connection, and ends with that. */
            if (!ch->ws && strcmp(ch->server, server) == 0)
                found = ch;
        }
        if (!found)
            return;
        channel_end(found, CHANNEL_AGENT_LOST, ERR_UNAVAILABLE, "the connection to the server's agent was lost");
    }
}

void channel_tick(struct manager *m) {
    int64_t now = manager_now(m);
    size_t pos = 0;
    void *value;
    while (map_next(&m->channels, &pos, NULL, &value)) {
        struct channel *ch = value;
        if (!ch->up && now - ch->asked > DIAL_MS)
            channel_end(ch, CHANNEL_NOT_OPENED, ERR_TIMEOUT, "the server's agent did not open the channel within 10 s");
        else if (ch->ops->tick)
            ch->ops->tick(ch->ctx, now);
    }
}

void channel_done(struct manager *m) {
    size_t pos = 0;
    void *value;
    while (map_next(&m->channels, &pos, NULL, &value))
        channel_end(value, CHANNEL_AGENT_LOST, ERR_UNAVAILABLE, "the manager stops");
    map_done(&m->channels);
}
