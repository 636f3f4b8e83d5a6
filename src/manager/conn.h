/* SPDX-License-Identifier: Apache-2.0 */
/* What http.c, answer.c and ws.c share; for nobody else. */
#pragma once

#include "manager/http.h"
#include "manager/unread.h"

#include <libwebsockets.h>
#include <netinet/in.h>

struct http_server {
    struct manager *m;
    struct lws_context *context;
    struct lws_vhost *vhost;
    SSL_CTX *tls; /* the vhost's */
    struct list conns;
    size_t n_conns;
};

struct conn {
    struct list link;
    struct http_server *server;
    struct lws *wsi;
    struct exchange *x;
    struct ws *ws;
    char peer[INET6_ADDRSTRLEN], client[INET6_ADDRSTRLEN]; /* client: whom it counts as */
    bool loopback;

    bool in_callback; /* of the request: who answers now is written when it returns */
    bool paused;      /* reading is off */
    bool close_after, lingering;
    bool ended;        /* it closes */
    struct room *room; /* room.c's */
    int64_t linger_until, linger_left;
    int64_t body_left;     /* of the request's body, still to arrive */
    int64_t body_deadline; /* for it, where it is collected */

    bool answered; /* a request before this one */
    uint64_t read_mark;

    /* The answer on its way out. */
    bool answering;
    int64_t answer_deadline;
    struct buf head;
    const char *text;
    char *owned; /* the text, if it is ours to free */
    size_t len, at;
    char unread[UNREAD_KEY]; /* for whom unread_len bytes are counted; "" */
    size_t unread_len;
};

void conn_close_soon(struct conn *c);
/* What the connection has brought so far, in bytes of TLS records. */
uint64_t conn_bytes_read(const struct conn *c);
void conn_read(struct conn *c, bool on);

/* ---- answer.c ---- */

#define ANSWER_CHUNK   32768
#define ANSWER_PAUSE_S 30 /* for each chunk of an answer */
/* owned: the text, if it is to be freed. */
void conn_answer(struct conn *c, struct exchange *x, int status, int64_t revision, const char *text, size_t len,
                 char *owned);
/* Writes what can be written now. Returns what a callback of libwebsockets returns: -1 closes. */
int conn_progress(struct conn *c);
/* More of the answer. 1: all is written; 0: we are called again when there is room; -1: the connection is gone. */
int conn_write_some(struct conn *c);
void conn_answer_reset(struct conn *c);

/* ---- room.c ---- */

/* Whether the socket takes more; what libwebsockets has kept goes first. -1: the connection is gone. */
int conn_has_room(struct conn *c);
/* then(c), once, when the socket takes more. -1: out of descriptors. */
int conn_await_room(struct conn *c, void (*then)(struct conn *c));
void conn_room_end(struct conn *c);
/* After reading has been switched off for a request that came together with the one before. */
void conn_unwatch(struct conn *c);

/* ---- refuse.c ---- */

/* What a head can be refused for, and doing so; returns -1, which closes the connection. brought: bytes
   that the connection has brought since its last answer. */
enum head_problem { HEAD_MALFORMED, HEAD_TOO_LONG, HEAD_VERSION, HEAD_NO_HOST, HEAD_BLANK };
bool conn_head_problem(struct lws *wsi, uint64_t brought, enum head_problem *ret);
int conn_refuse_head(struct lws *wsi, enum head_problem problem);

void exchange_free(struct exchange *x);
