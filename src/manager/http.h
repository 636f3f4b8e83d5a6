/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 over TLS on libwebsockets, which nobody above this file and ws.c sees.
 *
 * A connection has at most one request under way, a struct exchange:
 *
 *     head arrives         http.c refuses what it must (lengths, chunked bodies), else api_begin()
 *     body arrives         collected up to HTTP_BODY_MAX, or given to x->on_body piece by piece (uploads)
 *     it is complete       api_complete()
 *     somebody answers     exchange_reply(), now or later, once; the exchange is freed
 *     the client goes      x->conn becomes NULL, x->on_gone is called; it must still be answered
 *
 * A request that asks for a WebSocket goes to api_upgrade() instead, which answers it with an error or accepts it by
 * making a struct ws (ws.h).
 *
 * What libwebsockets (4.1 and 4.3) needs from us: from the end of a request to the end of its answer reading is
 * switched off, which also switches its write callbacks off (room.c); and a request without Content-Length has no body,
 * whatever it believes, so that connection is closed after the answer.
 */
#pragma once

#include "base/id.h"
#include "manager/manager.h"

#define HTTP_BODY_MAX (1024 * 1024)
#define HTTP_HEAD_MAX 16384

struct conn;
struct http_server;
struct ws;

/* Who asks. Copies, because what the core gives is borrowed. */
struct identity {
    bool known;
    bool by_cookie;
    bool by_api_token; /* not by a session */
    enum api_role role;
    char user_id[UUID_LEN + 1];
    char token_id[UUID_LEN + 1];
    char *user; /* name; owned */
    char *expires;
    char csrf[65];
    char hash[65]; /* of the token's secret */
};
void identity_done(struct identity *i);

struct exchange {
    struct list link; /* in manager.exchanges */
    struct manager *m;
    struct conn *conn; /* NULL when the client has gone */
    uint64_t id;
    int64_t started_us;

    char method[8];
    bool head, complete;
    char *path;             /* decoded, '%' encoded again; without the query */
    int64_t content_length; /* -1: none given */
    char *if_match;
    char *filter, *sort, *after, *fields;
    int64_t limit;

    const struct api_op *op;
    struct api_route route;
    struct identity who;
    struct buf body;
    json_t *json;
    json_t *args; /* the operation's own query parameters; NULL if it has none */
    char *password_hash;

    /* Set by a handler that takes the body itself. */
    void (*on_body)(struct exchange *x, const void *data, size_t len);
    void (*on_complete)(struct exchange *x);
    void (*on_gone)(struct exchange *x);
    /* Set by a handler that makes something else of the core's reply; text is the body and the function's to free. */
    void (*on_reply)(struct exchange *x, int status, int64_t revision, char *text);
    void *ctx;
    struct buf extra;   /* further header lines of the answer, each with its CRLF */
    const char *type;   /* content type; NULL: application/json */
    const char *policy; /* header lines for browsers; NULL: the API's, which also forbid to keep the answer */
};

/* Before and after an event of the core that this request is: whom the log names. */
void exchange_client(const struct exchange *x);
void exchange_client_end(const struct exchange *x);

int http_init(struct manager *m, struct error *e);
void http_tick(struct manager *m); /* each second */
/* Closes every connection; the loop must run a little for them to say goodbye. */
void http_stop(struct manager *m);
void http_done(struct manager *m);
size_t http_connections(const struct manager *m);
/* New connections get this certificate. */
int http_set_certificate(struct manager *m, const char *key_pem, const char *chain_pem, struct error *e);
/* An accepted socket; closed if it cannot be taken. */
void http_adopt(struct manager *m, int fd, const char *peer, bool loopback);

/* ---- while the head is at hand: in api_begin and api_upgrade ---- */

/* The header's value, "" if absent or longer than size. name: lower case with ':'. */
const char *conn_header(struct conn *c, const char *name, char *buf, size_t size);
/* The decoded query parameter, a copy, or NULL. */
char *conn_query(struct conn *c, const char *name);
/* Refuses parameters that are not in names (comma-separated). */
int conn_query_check(struct conn *c, const char *names, struct error *e);
const char *conn_peer(const struct conn *c);
/* Whom its address counts as where clients have limits. */
const char *conn_client(const struct conn *c);
bool conn_is_loopback(const struct conn *c);
/* SHA-256 of the DER of the verified client certificate; false if there is none. */
bool conn_certificate(struct conn *c, char ret[static 65]);
/* Stops and resumes the arrival of the body; when all of it is there, nothing is resumed. */
void conn_pause(struct conn *c, bool pause);
/* The client has waited long for a reason: its time-out begins again. */
void conn_touch(struct conn *c);
void conn_send_continue(struct conn *c);

/* Answers and frees. text: the body, owned (NULL: none); revision: the ETag (0: none). */
void exchange_reply(struct exchange *x, int status, int64_t revision, char *text);
/* 200 with bytes that outlive every connection. */
void exchange_reply_borrowed(struct exchange *x, const char *data, size_t len);
void exchange_reply_json(struct exchange *x, int status, int64_t revision, json_t *body /* stolen */);
void exchange_reply_error(struct exchange *x, const struct error *e);
void exchange_fail(struct exchange *x, enum error_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
struct exchange *exchange_find(struct manager *m, uint64_t id);

/* ---- implemented by api.c ---- */

void api_begin(struct exchange *x);
void api_complete(struct exchange *x);
/* True: conn_accept_ws() has been called. False: it has been answered. */
bool api_upgrade(struct exchange *x);
