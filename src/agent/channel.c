/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bulk channels (docs/agent-protocol.md): when the manager asks, a WebSocket of its own is dialled, and bytes are moved
 * between it and a guest's console, or into an upload. A side that is behind is not read from.
 */
#include "agent/channel.h"

#include "os/log.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHANNELS_MAX 64 /* of one agent */
#define READ_BYTES 16384
#define STUCK_MS 60000
#define CONNECT_TIMEOUT_MS 8000
#define PING_MS 5000

/* ---- a console's side ---- */

static void watch(struct channel *c);

static void on_poll_closed(uv_handle_t *handle) { free(handle); }

static void console_close(struct channel *c) {
    if (c->poll) {
        uv_poll_stop(c->poll);
        uv_close((uv_handle_t *)c->poll, on_poll_closed);
        c->poll = NULL;
    }
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void console_ended(struct channel *c) {
    console_close(c);
    channel_end(c, CHANNEL_GUEST_STOPPED, "the virtual machine has stopped");
}

static bool console_read(struct channel *c) {
    char buf[READ_BYTES];
    ssize_t n = read(c->fd, buf, sizeof(buf));
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    if (!ws_send_binary(c->ws, buf, (size_t)n)) {
        c->blocked = true;
        c->blocked_since = clock_mono_ms();
    }
    return true;
}

static bool console_write(struct channel *c) {
    ssize_t n = send(c->fd, c->unsent, c->n_unsent, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    c->n_unsent -= (size_t)n;
    memmove(c->unsent, c->unsent + n, c->n_unsent);
    if (c->n_unsent == 0)
        ws_pause_reading(c->ws, false);
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct channel *c = poll->data;
    bool good = status == 0;
    if (good && (events & UV_WRITABLE) && c->n_unsent)
        good = console_write(c);
    if (good && (events & UV_READABLE))
        good = console_read(c);
    if (good)
        watch(c);
    else
        console_ended(c);
}

static void watch(struct channel *c) {
    if (!c->poll)
        return;
    int events = (c->blocked ? 0 : UV_READABLE) | (c->n_unsent ? UV_WRITABLE : 0);
    if (events)
        uv_poll_start(c->poll, events, on_poll);
    else
        uv_poll_stop(c->poll);
}

static void console_open(struct channel *c) {
    c->poll = xcalloc(1, sizeof(*c->poll));
    if (uv_poll_init(c->a->config.loop, c->poll, c->fd) < 0) {
        free(c->poll);
        c->poll = NULL;
        console_ended(c);
        return;
    }
    c->poll->data = c;
    watch(c);
}

#define UNSENT_MAX (4 << 20)

static void console_take(struct channel *c, const void *data, size_t len) {
    if (c->fd < 0)
        return;
    /* Reading stops soon after the guest does; who sends this much meanwhile is not typing. */
    if (c->n_unsent + len > UNSENT_MAX) {
        console_close(c);
        channel_end(c, CHANNEL_STUCK, "the guest does not read what is sent to its console");
        return;
    }
    c->unsent = xreallocarray(c->unsent, c->n_unsent + len + 1, 1);
    memcpy(c->unsent + c->n_unsent, data, len);
    c->n_unsent += len;
    if (!console_write(c)) {
        console_ended(c);
        return;
    }
    if (c->n_unsent)
        ws_pause_reading(c->ws, true);
    watch(c);
}

/* ---- the manager's side ---- */

void channel_end(struct channel *c, enum channel_close_code code, const char *reason) {
    if (c->ws)
        ws_close(c->ws, (int)code, reason);
}

void channel_free(struct channel *c) {
    list_remove(&c->link);
    if (c->upload)
        upload_lost(c);
    console_close(c);
    ws_free(c->ws);
    api_channel_open_done(&c->args);
    free(c->refusal);
    free(c->refused_error);
    free(c->unsent);
    free(c);
}

static void on_open(void *ctx, struct ws_client *ws) {
    struct channel *c = ctx;
    c->open = true;
    if (c->refused_error) /* an upload's client is told the code too; the manager closes when it has read it */
        ws_send_text(ws, c->refused_error, strlen(c->refused_error));
    else if (c->refusal)
        channel_end(c, CHANNEL_REFUSED, c->refusal);
    else if (!c->upload)
        console_open(c);
}

static void on_binary(void *ctx, struct ws_client *ws, const void *data, size_t len) {
    struct channel *c = ctx;
    if (c->upload)
        upload_data(c, data, len);
    else
        console_take(c, data, len);
}

static void on_text(void *ctx, struct ws_client *ws, const char *data, size_t len) {
    struct channel *c = ctx;
    if (c->upload)
        upload_text(c, data, len);
}

static void on_writable(void *ctx, struct ws_client *ws) {
    struct channel *c = ctx;
    c->blocked = false;
    watch(c);
}

static void on_close(void *ctx, struct ws_client *ws, int code, const char *reason) {
    struct channel *c = ctx;
    if (!c->open)
        log_warning("channel for %s: the manager was not reached: %s", c->args.type, str_or(reason, ""));
    channel_free(c);
}

static void prepare(struct channel *c) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct agent *a = c->a;
    size_t n = 0;
    const struct channel *other;
    list_for_each(other, &a->channels, link) n++;
    if (n > CHANNELS_MAX)
        error_set(&e, ERR_RATE, "this server has %d consoles and uploads open, which is the most", CHANNELS_MAX);
    else if (str_eq(c->args.type, "upload"))
        upload_open(c, &e);
    else
        c->fd = a->config.driver->console(a->hypervisor, c->args.vm,
                                          str_eq(c->args.type, "vnc") ? CONSOLE_VNC : CONSOLE_SERIAL, &e);
    if (e.code == ERR_OK)
        return;
    c->refusal = xstrndup(str_or(e.message, error_code_text(e.code)), 120); /* a close frame has 123 bytes for it */
    if (str_eq(c->args.type, "upload"))
        c->refused_error = upload_error(&e);
}

void channel_open(struct agent *a, const json_t *args) {
    struct channel *c = xcalloc(1, sizeof(*c));
    c->a = a;
    c->fd = -1;
    if (api_channel_open_parse(args, API_PEER, &c->args, NULL) < 0) {
        free(c);
        return;
    }
    list_append(&a->channels, &c->link);
    prepare(c);
    _cleanup_free_ char *path = xasprintf("/agent/v1/channel/%s", c->args.channel);
    struct ws_client_config config = {.host = a->identity.host,
                                      .port = a->identity.port,
                                      .local = a->dial_from,
                                      .path = path,
                                      .ca_path = a->identity.ca_path,
                                      .certificate_path = a->identity.certificate_path,
                                      .key_path = a->identity.key_path,
                                      .max_message = 65536,
                                      .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                      .ping_ms = PING_MS,
                                      .on_open = on_open,
                                      .on_text = on_text,
                                      .on_binary = on_binary,
                                      .on_writable = on_writable,
                                      .on_close = on_close,
                                      .ctx = c};
    if (ws_connect(a->config.ws, &config, &c->ws) < 0) {
        log_warning("channel for %s: cannot dial the manager", c->args.type);
        channel_free(c);
    }
}

void channel_close_all(struct agent *a) {
    struct channel *c, *next;
    list_for_each_safe(c, next, &a->channels, link) channel_free(c);
}

void channel_check_all(struct agent *a) {
    int64_t now = clock_mono_ms();
    struct channel *c;
    list_for_each(c, &a->channels, link) {
        if (c->blocked && now - c->blocked_since > STUCK_MS)
            channel_end(c, CHANNEL_STUCK, "the console was not read for 60 s");
    }
}
