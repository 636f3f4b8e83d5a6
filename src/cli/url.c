/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/url.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <strings.h>

void url_done(struct url *u) {
    free(u->host);
    free(u->base);
    *u = (struct url){0};
}

static bool host_good(const char *host) {
    if (!*host || strlen(host) > 255)
        return false;
    for (const char *p = host; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_:%", *p))
            return false;
    return true;
}

static int port_parse(const char *s, int *ret) {
    char *end;
    long v = strtol(s, &end, 10);
    if (!isdigit((unsigned char)*s) || *end || v < 1 || v > 65535)
        return -1;
    *ret = (int)v;
    return 0;
}

int url_parse(const char *text, struct url *ret, struct error *e) {
    const char *s = text;
    if (strncasecmp(s, "http://", 7) == 0)
        return error_set(e, ERR_INVALID, "%s: the manager speaks HTTPS only; write https://%s", text, s + 7);
    if (strncasecmp(s, "https://", 8) == 0)
        s += 8;
    size_t len = strlen(s);
    while (len && s[len - 1] == '/')
        len--;
    _cleanup_free_ char *rest = xstrndup(s, len);
    char *host = rest, *port = NULL;
    if (*rest == '[') {
        char *end = strchr(rest, ']');
        if (!end || (end[1] && end[1] != ':'))
            return error_set(e, ERR_INVALID, "%s: write an IPv6 address as https://[::1]:%d", text, URL_DEFAULT_PORT);
        host = rest + 1;
        *end = 0;
        port = end[1] ? end + 2 : NULL;
    } else if ((port = strrchr(rest, ':'))) {
        if (strchr(rest, ':') != port)
            return error_set(e, ERR_INVALID, "%s: write an IPv6 address as https://[::1]:%d", text, URL_DEFAULT_PORT);
        *port++ = 0;
    }
    int number = URL_DEFAULT_PORT;
    if (!host_good(host) || (port && port_parse(port, &number) < 0))
        return error_set(e, ERR_INVALID, "%s: the manager's address has the form https://HOST:PORT", text);
    *ret = (struct url){.host = xstrdup(host), .port = number};
    ret->base = xasprintf(strchr(host, ':') ? "https://[%s]:%d" : "https://%s:%d", host, number);
    return 0;
}

bool url_is_loopback(const struct url *u) {
    struct in_addr a;
    return str_eq(u->host, "localhost") || str_eq(u->host, "::1") ||
           (inet_pton(AF_INET, u->host, &a) == 1 && (ntohl(a.s_addr) >> 24) == 127);
}

void url_encode(struct buf *out, const char *text) {
    for (const char *p = text; *p; p++) {
        if (isalnum((unsigned char)*p) || strchr("-._~", *p))
            buf_addc(out, *p);
        else
            buf_addf(out, "%%%02X", (unsigned char)*p);
    }
}

char *url_path(const char *pattern, const char *const *args, size_t n_args) {
    struct buf b = {0};
    size_t used = 0;
    for (const char *p = pattern; *p;) {
        const char *end = *p == '{' ? strchr(p, '}') : NULL;
        if (!end) {
            buf_addc(&b, *p++);
            continue;
        }
        if (used == n_args)
            abort();
        /* "." and ".." would be taken as directories on the way even when encoded by hand; they are no names. */
        const char *arg = args[used++];
        if (str_eq(arg, ".") || str_eq(arg, ".."))
            buf_adds(&b, str_eq(arg, ".") ? "%2E" : "%2E%2E");
        else
            url_encode(&b, arg);
        p = end + 1;
    }
    return buf_take(&b);
}

void url_query(struct buf *path, const char *name, const char *value) {
    buf_addc(path, path->data && strchr(path->data, '?') ? '&' : '?');
    buf_adds(path, name);
    buf_addc(path, '=');
    url_encode(path, value);
}
