/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors.
 *
 * Inside a layer a function returns 0 or a negative errno. Where a person or a program on the other side of an API is
 * to be told, the last parameter is a struct error *: a stable code, a message that says what is wrong and what to do,
 * and where it applies the path of the wrong field. The codes with their HTTP status and CLI exit code stand in one
 * table.
 */
#pragma once

#include <jansson.h>
#include <stdarg.h>

/*         name            HTTP exit  errno     meaning */
#define ERROR_CODES(X)                                                                                                 \
    X(OK, "ok", 200, 0, 0)                                /* no error */                                               \
    X(INVALID, "invalid", 400, 2, EINVAL)                 /* the request is wrong; see field */                        \
    X(UNAUTHENTICATED, "unauthenticated", 401, 4, EACCES) /* sign in first */                                          \
    X(FORBIDDEN, "forbidden", 403, 4, EPERM)              /* the role does not allow it */                             \
    X(NOT_FOUND, "not-found", 404, 3, ENOENT)             /* no such object */                                         \
    X(NOT_ALLOWED, "method-not-allowed", 405, 2, EINVAL)  /* the path has no such method */                            \
    X(EXISTS, "exists", 409, 5, EEXIST)                   /* the name is taken */                                      \
    X(CONFLICT, "conflict", 409, 5, EBUSY)                /* the object's state does not allow it */                   \
    X(IN_USE, "in-use", 409, 5, EBUSY)                    /* others depend on it; they are named */                    \
    X(STALE, "stale", 412, 5, ESTALE)                     /* If-Match did not match */                                 \
    X(TOO_LARGE, "too-large", 413, 2, E2BIG)              /* body, depth, length or count */                           \
    X(RATE, "rate-limited", 429, 6, EAGAIN)               /* slow down; see Retry-After */                             \
    X(INTERNAL, "internal", 500, 1, EIO)                  /* a fault of Tarn's */                                      \
    X(UNSUPPORTED, "unsupported", 501, 2, EOPNOTSUPP)     /* the driver cannot do this */                              \
    X(UNAVAILABLE, "unavailable", 503, 6, EHOSTDOWN)      /* server or agent is not connected */                       \
    X(READ_ONLY, "read-only", 503, 6, EROFS)              /* the store takes no changes now */                         \
    X(TIMEOUT, "timeout", 504, 6, ETIMEDOUT)              /* it took longer than its deadline */                       \
    X(NO_SPACE, "no-space", 507, 6, ENOSPC)               /* a disk is full */                                         \
    X(NO_CAPACITY, "no-capacity", 507, 6, ENOMEM)         /* no server can take it */                                  \
    X(CANCELLED, "cancelled", 409, 7, ECANCELED)          /* aborted on request */                                     \
    X(IO, "io", 500, 1, EIO)                              /* reading or writing failed */                              \
    X(BAD_IMAGE, "bad-image", 400, 2, EBADMSG)            /* a disk image is refused */                                \
    X(GUEST, "guest", 500, 1, EIO)                        /* the hypervisor refused or died */                         \
    X(VERSION, "version", 426, 2, EPROTO)                 /* other side's version does not fit */

enum error_code {
#define X(name, text, http, exit, err) ERR_##name,
    ERROR_CODES(X)
#undef X
        ERR_COUNT_
};

struct error {
    enum error_code code;
    char *message; /* owned; for people: what is wrong and what to do */
    char *field;   /* owned; path of the wrong field, or NULL */
};

#define ERROR_INIT ((struct error){0})

/* Sets *e (if e is not NULL; an older error is freed) and returns the code's negative errno, for `return error_set(…)`.
 */
int error_set(struct error *e, enum error_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int error_set_field(struct error *e, enum error_code code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Puts "PREFIX." (or "PREFIX" before a "[") in front of the field. */
void error_prefix_field(struct error *e, const char *prefix);
void error_done(struct error *e);
void error_move(struct error *to, struct error *from);
int error_copy(struct error *to, const struct error *from);
#define _cleanup_error_ __attribute__((cleanup(error_done)))

const char *error_code_text(enum error_code code);
enum error_code error_code_parse(const char *text); /* unknown text gives ERR_INTERNAL */
int error_http_status(enum error_code code);
int error_exit_code(enum error_code code);
int error_errno(enum error_code code); /* positive */

/* {"code", "message", "field"?}: a new reference. */
json_t *error_print(const struct error *e);
/* From such an object of a peer; never fails. Returns the negative errno of the code. */
int error_parse(struct error *e, const json_t *j);
