/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket client over TLS on libwebsockets and the caller's uv loop: for the agent's control and channel connections
 * and for the CLI's console and stream. The server's certificate is always verified against the given CA, host name or
 * address included.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct ws_context; /* one per process: an lws context on the loop */
struct ws_client;

int ws_context_new(uv_loop_t *loop, struct ws_context **ret);
/* Its clients have been freed. The loop must turn a few times more until all is gone. NULL is allowed. */
void ws_context_free(struct ws_context *w);

struct ws_client_config {
    const char *host; /* without brackets */
    int port;
    const char *local; /* the address that the connection is to come from; NULL: the system's choice */
    const char *path;
    const char *protocol;                    /* Sec-WebSocket-Protocol or NULL */
    const char *ca_path;                     /* PEM file; NULL: the system's */
    const char *certificate_path, *key_path; /* client certificate or NULL; files that change are read again */
    const char *bearer;                      /* Authorization: Bearer …, or NULL */
    size_t max_message;                      /* a longer text message closes the connection */
    int connect_timeout_ms, ping_ms;         /* a peer that has been silent for 3 × ping_ms is given up; 0: no pings */
    void (*on_open)(void *ctx, struct ws_client *c);
    void (*on_text)(void *ctx, struct ws_client *c, const char *data, size_t len);   /* whole messages */
    void (*on_binary)(void *ctx, struct ws_client *c, const void *data, size_t len); /* pieces as they come */
    void (*on_writable)(void *ctx,
                        struct ws_client *c); /* the queue fell below its low mark after ws_send said false */
    /* Once; also if it never opened. code: of the close frame, theirs or ours; the HTTP status if the upgrade was
       refused; 1006 for everything else, and reason says what. */
    void (*on_close)(void *ctx, struct ws_client *c, int code, const char *reason);
    void *ctx;
};
int ws_connect(struct ws_context *w, const struct ws_client_config *config, struct ws_client **ret);
/* Queues a copy. False: the queue is above its high mark (256 KiB), wait for on_writable (the data is queued all the
 * same). */
bool ws_send_text(struct ws_client *c, const char *data, size_t len);
bool ws_send_binary(struct ws_client *c, const void *data, size_t len);
/* Our own address on its connection, without a port. -ENOTCONN if there is none. */
int ws_local_address(const struct ws_client *c, char *ret, size_t size);
void ws_pause_reading(struct ws_client *c, bool pause);
/* Sends what is queued, then a close frame; on_close follows. */
void ws_close(struct ws_client *c, int code, const char *reason);
/* Without on_close; from any callback. NULL is allowed. */
void ws_free(struct ws_client *c);

struct lws;
/*
 * For servers on libwebsockets too: sends a close frame and ends the connection when it has been answered. Called in a
 * callback of wsi that then returns 0. The documented way, lws_close_reason() and return -1, never sends the frame with
 * Debian's libwebsockets 4.1 on libuv: that build closes such a connection twice, "to confirm that it is harmless".
 */
void ws_close_frame(struct lws *wsi, int code, const char *reason);
