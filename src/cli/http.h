/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the manager's REST interface: one connection that is kept open, TLS always verified against the profile's
 * CA, answers capped in size, and every failure turned into a struct error that says what to do.
 */
#pragma once

#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>

struct http;

struct http_request {
    const char *method;
    const char *path;     /* below /api/v1, with its query, already encoded */
    const json_t *body;   /* JSON, or NULL */
    const char *if_match; /* a revision, or NULL */

    /* A body of bytes instead of JSON: read from fd at its current offset, at most length bytes. -1 for none. */
    int fd;
    int64_t length;
    /* Called while bytes go out; returns false to stop (the request then fails with ERR_CANCELLED). */
    bool (*on_progress)(void *ctx, int64_t sent);
    void *ctx;
};

struct http_reply {
    int status;
    json_t *body; /* owned; NULL where the answer is empty */
    char *text;   /* owned; the answer as it came */
    size_t len;
};
void http_reply_done(struct http_reply *r);
#define _cleanup_reply_ __attribute__((cleanup(http_reply_done)))

/* base: https://HOST:PORT; ca: a PEM file; token: NULL for none. All are copied. */
struct http *http_new(const char *base, const char *ca, const char *token, bool verbose);
void http_free(struct http *h);

/* 0 for 2xx answers; otherwise a negative errno and the error that the manager sent, or what kept us from asking.
   ret may be NULL. */
int http_do(struct http *h, const struct http_request *request, struct http_reply *ret, struct error *e);
/* Whether the last failure was of the connection (the manager may not have seen the request, or its answer was lost).
 */
bool http_broke(const struct http *h);

/* GET path → *ret, an object; a new reference. */
int http_get(struct http *h, const char *path, json_t **ret, struct error *e);
