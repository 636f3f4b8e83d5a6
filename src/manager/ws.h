/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One accepted WebSocket. Made in api_upgrade(), before the handshake is finished; freed by this file when the
 * connection ends.
 *
 * Sending queues a copy. A queue above WS_HIGH is the sender's to mind (ws_send_… says false; ops->writable follows
 * when it is below WS_LOW); one above max_queue ends the connection, so that a peer that does not read can't hold our
 * memory.
 */
#pragma once

#include "manager/http.h"

#define WS_HIGH (256 * 1024)
#define WS_LOW  (64 * 1024)

struct ws;
struct ws_ops {
    void (*open)(struct ws *w, void *ctx);
    void (*text)(struct ws *w, void *ctx, const char *data, size_t len);   /* whole messages; NULL: refused */
    void (*binary)(struct ws *w, void *ctx, const void *data, size_t len); /* pieces as they come; NULL: refused */
    void (*writable)(struct ws *w, void *ctx);
    /* The queue is empty and the socket takes more: send something, or nothing. */
    void (*pull)(struct ws *w, void *ctx);
    /* Once, unless ws_close() came first. The socket is gone; w is freed afterwards. */
    void (*closed)(struct ws *w, void *ctx, int code, const char *reason);
};

struct ws_config {
    const struct ws_ops *ops;
    void *ctx;
    size_t max_text, max_queue;
    int ping_ms, silence_ms; /* silent for longer: gone */
};

/* Accepts the upgrade of the exchange's connection (and frees the exchange). */
struct ws *exchange_accept_ws(struct exchange *x, const struct ws_config *config);

bool ws_send_text(struct ws *w, const char *data, size_t len);
bool ws_send_binary(struct ws *w, const void *data, size_t len);
/* Calls pull soon. */
void ws_kick(struct ws *w);
void ws_pause(struct ws *w, bool pause);
size_t ws_queued(const struct ws *w);
/* When the queue last became shorter or was empty, ms of the loop's clock. */
int64_t ws_progress(const struct ws *w);
/* Sends what is queued, then the close frame (the reason is cut to 123 bytes). No callback comes any more. */
void ws_close(struct ws *w, int code, const char *reason);
/* The same, but ops->closed is called first. */
void ws_stop(struct ws *w, int code, const char *reason);
const char *ws_peer(const struct ws *w);

/* For http.c. */
struct lws;
int ws_callback(struct ws *w, int reason, void *in, size_t len);
void ws_destroy(struct ws *w);
void ws_tick(struct ws *w, int64_t now);
