/* SPDX-License-Identifier: Apache-2.0 */
/*
 * There are few paths and most differ in their first bytes, so that a walk through them all costs less than the parsing
 * of the request line that led here.
 */
#include "api/route.h"

#include "base/id.h"

#include <errno.h>
#include <string.h>

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes one segment to *at and moves *at past its NUL. An encoded NUL or '/' could mean another path further down. */
static int segment_decode(const char *s, size_t len, char **at, const char *end) {
    char *out = *at;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '%') {
            int hi = i + 2 < len ? hex_digit(s[i + 1]) : -1, lo = hi >= 0 ? hex_digit(s[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return -EINVAL;
            c = (char)(hi << 4 | lo);
            i += 2;
            if (c == 0 || c == '/')
                return -EINVAL;
        }
        if (out + 1 >= end)
            return -EINVAL;
        *out++ = c;
    }
    *out++ = 0;
    if (!utf8_valid(*at))
        return -EINVAL;
    *at = out;
    return 0;
}

/* Whether the path has the pattern's form; where its parameters are, in order. */
static bool path_match(const char *pattern, const char *path, const char *param[2], size_t len[2], size_t *n) {
    *n = 0;
    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t l = strcspn(path, "/");
        if (l == 0 || *n == 2)
            return false;
        param[*n] = path;
        len[(*n)++] = l;
        path += l;
        pattern = strchr(pattern, '}') + 1;
    }
    return *path == 0;
}

static int params_decode(const char *param[2], const size_t len[2], size_t n, struct api_route *ret) {
    char *at = ret->text;
    for (size_t i = 0; i < n; i++) {
        ret->params[i] = at;
        if (segment_decode(param[i], len[i], &at, ret->text + sizeof ret->text) < 0)
            return -EINVAL;
    }
    ret->n_params = n;
    return 0;
}

const struct api_op *api_route_find(const struct api_path *paths, size_t n, const char *method, const char *path,
                                    struct api_route *ret) {
    ret->params[0] = ret->params[1] = ret->allow = NULL;
    ret->n_params = 0;
    ret->malformed = false;
    for (size_t i = 0; i < n; i++) {
        const char *param[2];
        size_t len[2], n_params;
        if (!path_match(paths[i].pattern, path, param, len, &n_params))
            continue;
        if (params_decode(param, len, n_params, ret) < 0) {
            ret->params[0] = ret->params[1] = NULL;
            ret->malformed = true;
            return NULL;
        }
        ret->allow = paths[i].allow;
        for (size_t k = 0; k < paths[i].n; k++)
            if (strcmp(paths[i].ops[k]->method, method) == 0)
                return paths[i].ops[k];
        return NULL;
    }
    return NULL;
}
