/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer, always followed by a NUL that is not counted. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

struct buf {
    char *data; /* owned; NULL while empty */
    size_t len, cap;
};

void buf_done(struct buf *b);
#define _cleanup_buf_ __attribute__((cleanup(buf_done)))
void buf_reserve(struct buf *b, size_t more);
void buf_grow(struct buf *b, const void *data, size_t len); /* buf_add() where there is no room */
/* Objects are written in many small pieces, hence inline. */
static inline void buf_add(struct buf *b, const void *data, size_t len) {
    if (b->cap - b->len <= len) {
        buf_grow(b, data, len);
        return;
    }
    if (len) /* data may be NULL */
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
}
static inline void buf_adds(struct buf *b, const char *s) { buf_add(b, s, strlen(s)); }
static inline void buf_addc(struct buf *b, char c) { buf_add(b, &c, 1); }
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);
/* The string, which the caller then owns ("" if empty); the buffer is empty afterwards. */
char *buf_take(struct buf *b);
/* The same without the spare room, for what is kept. */
char *buf_take_fitted(struct buf *b);
