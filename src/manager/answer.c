/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of a request on its way out: written as far as the socket takes it, the rest when there is room. */
#include "manager/conn.h"
#include "manager/loop.h"

#include <openssl/ssl.h>

#define CHUNKS_AT_ONCE 16     /* then others have their turn */
#define ANSWER_MS      120000 /* for the client to read one */
#define LINGER_MS      2000
#define LINGER_BYTES   (64 * 1024 * 1024)

uint64_t conn_bytes_read(const struct conn *c) {
    SSL *ssl = lws_get_ssl(c->wsi);
    return ssl ? BIO_number_read(SSL_get_rbio(ssl)) : 0;
}

void conn_answer_reset(struct conn *c) {
    c->answering = false;
    buf_done(&c->head);
    free(c->owned);
    unread_give(c->server->m, c->unread, c->unread_len);
    c->text = c->owned = NULL;
    c->len = c->at = 0;
}

static const char *status_text(int status) {
    static const struct {
        int status;
        const char *text;
    } texts[] = {{200, "OK"},
                 {201, "Created"},
                 {202, "Accepted"},
                 {204, "No Content"},
                 {304, "Not Modified"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {409, "Conflict"},
                 {411, "Length Required"},
                 {412, "Precondition Failed"},
                 {413, "Content Too Large"},
                 {415, "Unsupported Media Type"},
                 {417, "Expectation Failed"},
                 {426, "Upgrade Required"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {500, "Internal Server Error"},
                 {501, "Not Implemented"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"},
                 {507, "Insufficient Storage"}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return status < 400 ? "OK" : "Error";
}

static void conn_go(struct conn *c);

/* Timeouts are kept in one sorted list, which is long where there are many agents: only who has to wait gets one. */
static int conn_wait_writable(struct conn *c) {
    lws_set_timeout(c->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_PAUSE_S);
    if (c->lingering)
        return lws_callback_on_writable(c->wsi) < 0 ? -1 : 0;
    conn_read(c, false);
    return conn_await_room(c, conn_go);
}

int conn_write_some(struct conn *c) {
    int room;
    if (c->head.len) {
        /* lws_write wants LWS_PRE bytes of its own before the data, though HTTP/1.1 does not use them. */
        if (lws_write(c->wsi, (unsigned char *)c->head.data + LWS_PRE, c->head.len - LWS_PRE, LWS_WRITE_HTTP_HEADERS) <
            0)
            return -1;
        buf_done(&c->head);
    }
    for (int i = 0; c->at < c->len; i++) { /* never when lingering: an answer to a refused body is short */
        room = i < CHUNKS_AT_ONCE ? conn_has_room(c) : 0;
        if (room <= 0)
            return room < 0 ? -1 : conn_wait_writable(c);
        size_t n = c->len - c->at < ANSWER_CHUNK ? c->len - c->at : ANSWER_CHUNK;
        if (lws_write(c->wsi, (unsigned char *)c->text + c->at, n, LWS_WRITE_HTTP) < 0)
            return -1;
        c->at += n;
    }
    /* libwebsockets does not begin the next request before the socket is writable either, and would spin till then. */
    room = conn_has_room(c);
    return room ? room : conn_wait_writable(c);
}

int conn_progress(struct conn *c) {
    if (c->ended)
        return -1;
    if (!c->answering || (c->body_left > 0 && !c->lingering))
        return 0;
    const char *before = loop_at(c->server->m, "writing answers");
    int r = conn_write_some(c);
    loop_at(c->server->m, before);
    if (r <= 0)
        return r;
    if (c->lingering) {
        /* A client that is still sending learns of the refusal only if we go on reading for a while. */
        lws_set_timeout(c->wsi, PENDING_TIMEOUT_HTTP_CONTENT, LINGER_MS / 1000);
        return c->body_left > 0 ? 0 : -1;
    }
    bool close_after = c->close_after;
    conn_answer_reset(c);
    c->answered = true;
    c->read_mark = conn_bytes_read(c);
    conn_room_end(c);
    if (close_after || lws_http_transaction_completed(c->wsi))
        return -1;
    conn_read(c, true);
    return 0;
}

/* The same where nobody takes what a callback returns. */
static void conn_go(struct conn *c) {
    if (conn_progress(c) == 0)
        return;
    if (c->answering) { /* a socket that has failed gets no callbacks */
        conn_close_soon(c);
        return;
    }
    c->ended = true; /* so says the next callback, whichever it is */
    conn_read(c, true);
    lws_callback_on_writable(c->wsi);
}

static const char api_policy[] =
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n";

void conn_answer(struct conn *c, struct exchange *x, int status, int64_t revision, const char *text, size_t len,
                 char *owned) {
    if (!x->complete && (c->body_left > HTTP_BODY_MAX || x->on_body)) {
        c->close_after = c->lingering = true;
        c->linger_until = manager_now(x->m) + LINGER_MS;
        c->linger_left = LINGER_BYTES;
    }
    struct buf *h = &c->head;
    buf_reserve(h, LWS_PRE + 1024);
    static const char pre[LWS_PRE];
    buf_add(h, pre, LWS_PRE);
    buf_addf(h, "HTTP/1.1 %d %s\r\n", status, status_text(status));
    if (status != 204 && status != 304)
        buf_addf(h, "Content-Type: %s\r\nContent-Length: %zu\r\n", x->type ? x->type : "application/json", len);
    if (revision > 0)
        buf_addf(h, "ETag: \"%lld\"\r\n", (long long)revision);
    if (x->extra.len)
        buf_add(h, x->extra.data, x->extra.len);
    buf_adds(h, x->policy ? x->policy : api_policy);
    if (c->close_after)
        buf_adds(h, "Connection: close\r\n");
    buf_adds(h, "\r\n");
    if (x->head)
        len = 0;
    if (len && len <= ANSWER_CHUNK) {
        buf_add(h, text, len); /* one write, one TLS record */
        len = 0;
    }
    if (len == 0) {
        free(owned);
        text = owned = NULL;
    }
    c->text = text;
    c->owned = owned;
    c->len = len;
    c->at = 0;
    c->answering = true;
    c->answer_deadline = manager_now(x->m) + ANSWER_MS;
    if (c->in_callback)
        return;
    if (c->body_left == 0) {
        conn_go(c);
    } else {
        conn_read(c, true);
        lws_callback_on_writable(c->wsi);
    }
}
