/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/ws.h"

#include "manager/conn.h"
#include "manager/loop.h"

#define CLOSE_TIMEOUT_S 3
#define PULLED_AT_ONCE  8 /* frames */
#define WRITE_CLOSE     4 /* libwebsockets' number for a close frame, which its public header leaves out */

enum frame_type { FRAME_TEXT, FRAME_BINARY };

struct frame {
    struct list link;
    size_t len;
    enum frame_type type;
    unsigned char data[]; /* LWS_PRE bytes, then len */
};

struct ws {
    struct conn *conn;
    struct ws_config config;
    struct list queue;
    size_t queued;
    bool opened, choked, paused, ping_due, told;
    bool closing, close_sent;
    int close_code;
    char close_reason[124];
    struct buf text; /* of a message that has come in part */
    int64_t last_heard, last_ping, last_progress;
};

static void queue_free(struct ws *w) {
    struct frame *f, *tmp;
    list_for_each_safe(f, tmp, &w->queue, link) {
        list_remove(&f->link);
        free(f);
    }
    w->queued = 0;
}

struct ws *exchange_accept_ws(struct exchange *x, const struct ws_config *config) {
    struct ws *w = xcalloc(1, sizeof *w);
    w->conn = x->conn;
    w->config = *config;
    list_init(&w->queue);
    w->last_heard = w->last_ping = w->last_progress = manager_now(x->m);
    x->conn->ws = w;
    exchange_free(x);
    return w;
}

const char *ws_peer(const struct ws *w) { return conn_peer(w->conn); }
size_t ws_queued(const struct ws *w) { return w->queued; }
int64_t ws_progress(const struct ws *w) { return w->last_progress; }

static int64_t now_of(const struct ws *w) { return manager_now(w->conn->server->m); }

static void tell_closed(struct ws *w, int code, const char *reason) {
    if (w->told || w->closing)
        return;
    w->told = true;
    if (w->config.ops->closed)
        w->config.ops->closed(w, w->config.ctx, code, reason);
}

void ws_destroy(struct ws *w) {
    tell_closed(w, 1006, "the connection was lost");
    w->conn->ws = NULL;
    queue_free(w);
    buf_done(&w->text);
    free(w);
}

static bool queue_add(struct ws *w, enum frame_type type, const void *data, size_t len) {
    if (w->closing)
        return true;
    if (w->queued + len > w->config.max_queue) {
        conn_close_soon(w->conn);
        return true;
    }
    struct frame *f = xmalloc(sizeof *f + LWS_PRE + len);
    f->type = type;
    f->len = len;
    memcpy(f->data + LWS_PRE, data, len);
    if (w->queued == 0)
        w->last_progress = now_of(w);
    list_append(&w->queue, &f->link);
    w->queued += len;
    ws_kick(w);
    if (w->queued <= WS_HIGH)
        return true;
    w->choked = true;
    return false;
}

bool ws_send_text(struct ws *w, const char *data, size_t len) { return queue_add(w, FRAME_TEXT, data, len); }
bool ws_send_binary(struct ws *w, const void *data, size_t len) { return queue_add(w, FRAME_BINARY, data, len); }

void ws_kick(struct ws *w) {
    if (w->opened)
        lws_callback_on_writable(w->conn->wsi);
}

void ws_pause(struct ws *w, bool pause) {
    if (w->paused == pause)
        return;
    w->paused = pause;
    w->last_heard = now_of(w);
    if (w->opened)
        lws_rx_flow_control(w->conn->wsi, !pause);
}

static void start_close(struct ws *w, int code, const char *reason) {
    w->closing = true;
    w->close_code = code;
    snprintf(w->close_reason, sizeof w->close_reason, "%s", reason);
    for (size_t n = strlen(w->close_reason); n && !utf8_valid(w->close_reason); n--)
        w->close_reason[n - 1] = 0; /* cut inside a character */
    lws_set_timeout(w->conn->wsi, PENDING_TIMEOUT_USER_OK, CLOSE_TIMEOUT_S);
    if (w->paused && w->opened)
        lws_rx_flow_control(w->conn->wsi, 1);
    ws_kick(w);
}

void ws_close(struct ws *w, int code, const char *reason) {
    if (!w->closing && !w->told)
        start_close(w, code, reason);
}

void ws_stop(struct ws *w, int code, const char *reason) {
    if (w->closing)
        return;
    tell_closed(w, code, reason);
    start_close(w, code, reason);
}

void ws_tick(struct ws *w, int64_t now) {
    if (w->closing || !w->opened)
        return;
    if (w->paused)
        w->last_heard = now; /* we would not hear it */
    if (now - w->last_heard >= w->config.silence_ms) {
        tell_closed(w, 1006, "it has been silent for too long");
        conn_close_soon(w->conn);
    } else if (now - w->last_ping >= w->config.ping_ms) {
        w->last_ping = now;
        w->ping_due = true;
        ws_kick(w);
    }
}

/* ---- out ---- */

/* With a payload: libwebsockets does not tell of an empty pong. */
static int send_ping(struct ws *w) {
    unsigned char ping[LWS_PRE + 4];
    memcpy(ping + LWS_PRE, "tarn", 4);
    w->ping_due = false;
    return lws_write(w->conn->wsi, ping + LWS_PRE, 4, LWS_WRITE_PING) < 0 ? -1 : 0;
}

static int send_frame(struct ws *w) {
    struct frame *f = list_first(&w->queue, struct frame, link);
    list_remove(&f->link);
    w->queued -= f->len;
    w->last_progress = now_of(w);
    int r =
        lws_write(w->conn->wsi, f->data + LWS_PRE, f->len, f->type == FRAME_TEXT ? LWS_WRITE_TEXT : LWS_WRITE_BINARY);
    free(f);
    return r < 0 ? -1 : 0;
}

/*
 * Not lws_close_reason(): Debian's libwebsockets is built for debugging, and then, on libuv, closes every connection
 * twice to see whether that does harm, the second time before the close frame is out. The peer answers, or
 * CLOSE_TIMEOUT_S passes.
 */
static int send_close(struct ws *w) {
    unsigned char frame[LWS_PRE + 2 + sizeof w->close_reason];
    size_t len = strlen(w->close_reason);
    frame[LWS_PRE] = (unsigned char)(w->close_code >> 8);
    frame[LWS_PRE + 1] = (unsigned char)w->close_code;
    memcpy(frame + LWS_PRE + 2, w->close_reason, len);
    w->close_sent = true;
    return lws_write(w->conn->wsi, frame + LWS_PRE, len + 2, (enum lws_write_protocol)WRITE_CLOSE) < 0 ? -1 : 0;
}

/* What many read is written in parts, so that a change that brings much does not keep everybody else waiting. */
static int on_writable(struct ws *w) {
    if (w->ping_due && !w->closing && send_ping(w) < 0)
        return -1;
    for (int i = 0;; i++) {
        if (i == PULLED_AT_ONCE && w->config.ops->pull) {
            ws_kick(w);
            return 0;
        }
        if (list_empty(&w->queue) && !w->closing && !w->told && w->config.ops->pull)
            w->config.ops->pull(w, w->config.ctx);
        if (list_empty(&w->queue))
            break;
        if (lws_send_pipe_choked(w->conn->wsi)) {
            ws_kick(w);
            return 0;
        }
        if (send_frame(w) < 0)
            return -1;
        if (w->choked && w->queued < WS_LOW) {
            w->choked = false;
            if (!w->closing && !w->told && w->config.ops->writable)
                w->config.ops->writable(w, w->config.ctx);
        }
    }
    return w->closing && !w->close_sent ? send_close(w) : 0;
}

static int go_on_writing(struct ws *w) {
    struct manager *m = w->conn->server->m;
    static const char watchers[] = "writing to watchers";
    bool pulls = w->config.ops->pull && !w->closing;
    if (pulls && loop_had_enough(m, watchers)) {
        ws_kick(w);
        return 0;
    }
    const char *before = loop_at(m, pulls ? watchers : "writing frames");
    int r = on_writable(w);
    loop_at(m, before);
    return r;
}

/* ---- in ---- */

static int protocol_error(struct ws *w, int code, const char *reason) {
    ws_stop(w, code, reason);
    return 0;
}

static int on_receive(struct ws *w, const void *data, size_t len) {
    struct lws *wsi = w->conn->wsi;
    w->last_heard = now_of(w);
    if (w->closing || w->told)
        return 0;
    const struct ws_ops *ops = w->config.ops;
    if (lws_frame_is_binary(wsi)) {
        if (!ops->binary)
            return protocol_error(w, 1003, "binary frames are not used here");
        if (len)
            ops->binary(w, w->config.ctx, data, len);
        return 0;
    }
    if (!ops->text)
        return protocol_error(w, 1003, "text frames are not used here");
    if (w->text.len + len > w->config.max_text)
        return protocol_error(w, 1009, "the message is too long");
    buf_add(&w->text, data, len);
    if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi))
        return 0;
    struct buf message = w->text;
    w->text = (struct buf){0};
    ops->text(w, w->config.ctx, message.data ? message.data : "", message.len);
    buf_done(&message);
    return 0;
}

static int on_peer_close(struct ws *w, const unsigned char *in, size_t len) {
    char reason[124] = "";
    int code = 1005;
    if (len >= 2) {
        code = in[0] << 8 | in[1];
        size_t n = len - 2 < sizeof reason - 1 ? len - 2 : sizeof reason - 1;
        memcpy(reason, in + 2, n);
        reason[n] = 0;
    }
    if (w->close_sent)
        return -1; /* it was the answer to ours */
    tell_closed(w, code, utf8_valid(reason) ? reason : "");
    return 0; /* libwebsockets answers with the same code */
}

int ws_callback(struct ws *w, int reason, void *in, size_t len) {
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        w->opened = true;
        w->last_heard = w->last_ping = now_of(w);
        if (w->paused)
            lws_rx_flow_control(w->conn->wsi, 0);
        if (!w->closing && w->config.ops->open)
            w->config.ops->open(w, w->config.ctx);
        ws_kick(w);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return go_on_writing(w);
    case LWS_CALLBACK_RECEIVE:
        return on_receive(w, in, len);
    case LWS_CALLBACK_RECEIVE_PONG:
        w->last_heard = now_of(w);
        return 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return on_peer_close(w, in, len);
    default:
        return 0;
    }
}
