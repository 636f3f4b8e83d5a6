/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer, always followed by a NUL that is not counted. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

struct buf {
    char *data; /* owned; NULL while empty */
    size_t len, cap;
};

void buf_done(struct buf *b);
#define _cleanup_buf_ __attribute__((cleanup(buf_done)))
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *data, size_t len);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);
/* The string, which the caller then owns ("" if empty); the buffer is empty afterwards. */
char *buf_take(struct buf *b);
