/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdio.h>

static void *check(void *p) {
    if (!p)
        abort();
    return p;
}

void *xmalloc(size_t size) { return check(malloc(size ? size : 1)); }

void *xcalloc(size_t n, size_t size) { return check(calloc(n ? n : 1, size ? size : 1)); }

void *xreallocarray(void *p, size_t n, size_t size) { return check(reallocarray(p, n ? n : 1, size ? size : 1)); }

char *xstrdup(const char *s) { return s ? check(strdup(s)) : NULL; }

char *xstrndup(const char *s, size_t n) { return check(strndup(s, n)); }

void *xmemdup(const void *p, size_t n) {
    void *copy = xmalloc(n);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

char *xvasprintf(const char *fmt, va_list ap) {
    char *s = NULL;
    if (vasprintf(&s, fmt, ap) < 0)
        abort();
    return s;
}

char *xasprintf(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    char *s = xvasprintf(fmt, ap);
    va_end(ap);
    return s;
}

void str_set(char **p, const char *s) {
    char *copy = xstrdup(s);
    free(*p);
    *p = copy;
}

void str_take(char **p, char *s) {
    free(*p);
    *p = s;
}
