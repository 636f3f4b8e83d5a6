/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QMP, QEMU's monitor protocol: one JSON object a line over a stream socket, commands with an id, events without.
 *
 * QEMU is not trusted: a guest may have taken it over. A message is at most QMP_MAX_MESSAGE bytes, is parsed with the
 * same strict parser as a client's request, and every member is checked for its type. What does not parse closes the
 * connection; what parses and is not understood is passed over.
 *
 *     state        commands           replies, events      end of file or garbage
 *     open         queued, sent       delivered            closed
 *     closed       fail at once       none                 -
 *
 * On the way to "closed" every pending call fails with ERR_GUEST, in the order in which they were made, and then
 * closed() is called, once. Commands need not wait for the greeting: QEMU reads them when it is ready, so the reply to
 * the first one is what says that the machine exists.
 */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define QMP_MAX_MESSAGE (1024 * 1024)

/* ---- messages, without a socket: what fuzz/ feeds ---- */

enum qmp_kind { QMP_OTHER, QMP_GREETING, QMP_RETURN, QMP_ERROR, QMP_EVENT };
struct qmp_message {
    enum qmp_kind kind;
    json_t *whole;      /* owned; the rest is borrowed from it */
    uint64_t id;        /* RETURN, ERROR: 0 if it has none of ours */
    const json_t *data; /* RETURN: any value; EVENT: an object or NULL */
    const char *name;   /* EVENT; ERROR: QEMU's class */
    const char *text;   /* ERROR: description */
};
/* One line without its newline. Negative errno for what is not a JSON object. */
int qmp_message_parse(const char *line, size_t len, struct qmp_message *ret);
void qmp_message_done(struct qmp_message *m);

/* QEMU's words on their way to people: what is not printable ASCII becomes "?", a newline a space. */
void qmp_text_clean(char *s);
/* A count of bytes or milliseconds that it tells, and what that makes of a sum: from 0 to QMP_COUNT_MAX, whatever it
 * says, so that it can be calculated with. */
#define QMP_COUNT_MAX (INT64_C(1) << 56)
int64_t qmp_count(const json_t *o, const char *key);
int64_t qmp_sum(int64_t sum, const json_t *o, const char *key);

/* ---- the client ---- */

struct qmp;
typedef void qmp_reply(void *ctx, const struct error *error /* NULL: success */, const json_t *result);

struct qmp_handler {
    void (*event)(void *ctx, const char *name, const json_t *data /* an object or NULL */);
    void (*closed)(void *ctx, const char *why);
};

/* fd: a connected stream socket, taken on success. Sends qmp_capabilities, whose reply goes to ready. The handler is
   borrowed for good. */
int qmp_open(uv_loop_t *loop, int fd, const struct qmp_handler *handler, void *ctx, qmp_reply *ready,
             int64_t timeout_ms, struct qmp **ret);
/* The same, and commands may be carried out beside the others, out of band; ready gets an error where QEMU cannot. */
int qmp_open_oob(uv_loop_t *loop, int fd, const struct qmp_handler *handler, void *ctx, qmp_reply *ready,
                 int64_t timeout_ms, struct qmp **ret);
/* No reply and no event comes any more; may be called from inside a callback. NULL is allowed. */
void qmp_free(struct qmp *q);
bool qmp_is_open(const struct qmp *q);
/*
 * reply (may be NULL) is called once, never from inside: with ERR_TIMEOUT when timeout_ms pass, with ERR_GUEST and
 * QEMU's own words when it refuses. args is stolen (NULL: none).
 */
void qmp_call(struct qmp *q, const char *command, json_t *args, int64_t timeout_ms, qmp_reply *reply, void *ctx);
/* Out of band: at once, by QEMU's monitor thread, even while others are being carried out or hang. Few commands can. */
void qmp_call_oob(struct qmp *q, const char *command, json_t *args, int64_t timeout_ms, qmp_reply *reply, void *ctx);
/* The same with a descriptor beside it (for getfd); fd is duplicated. */
void qmp_call_fd(struct qmp *q, const char *command, json_t *args, int fd, int64_t timeout_ms, qmp_reply *reply,
                 void *ctx);
