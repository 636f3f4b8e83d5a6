/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory and ownership.
 *
 * Allocation never fails: a process that cannot get a few bytes cannot decide anything either, so the x functions
 * abort. What a peer or a client can make us allocate is capped where it is read, never here.
 *
 * Ownership: pointers returned by _new, _dup and xasprintf belong to the caller; TAKE_PTR() moves one out of a variable
 * that a cleanup attribute would free.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s); /* NULL gives NULL */
char *xstrndup(const char *s, size_t n);
void *xmemdup(const void *p, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *xvasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define TAKE_PTR(p)                    \
    ({                                 \
        __auto_type _take_tmp = (p);   \
        (p) = NULL;                    \
        _take_tmp;                     \
    })

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

static inline void cleanup_free(void *p) { free(*(void **)p); }
#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))
#define _cleanup_(f) __attribute__((cleanup(f)))

static inline bool str_eq(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}
static inline bool str_empty(const char *s) { return !s || !*s; }
static inline const char *str_or(const char *s, const char *other) { return str_empty(s) ? other : s; }

/* *p becomes a copy of s; the old string is freed. */
void str_set(char **p, const char *s);
/* *p becomes s itself; the old string is freed. */
void str_take(char **p, char *s);
