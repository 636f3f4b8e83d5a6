/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/parse.h"

#include "base/buf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

int decimal_parse(const char *s, int64_t *ret) {
    size_t n = strspn(s, "0123456789");
    if (n < 1 || n > 18 || s[n])
        return -EINVAL;
    int64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v * 10 + (s[i] - '0');
    *ret = v;
    return 0;
}

static bool token_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
}

static bool token_copy(const char *s, size_t len, char *ret, size_t size) {
    if (len < 1 || len >= size)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!token_char(s[i]))
            return false;
    memcpy(ret, s, len);
    ret[len] = 0;
    return true;
}

bool cookie_find(const char *header, const char *name, char *ret, size_t size) {
    size_t name_len = strlen(name);
    for (const char *p = header; *p;) {
        p += strspn(p, "; \t");
        size_t len = strcspn(p, ";");
        if (len > name_len && p[name_len] == '=' && memcmp(p, name, name_len) == 0) {
            size_t value_len = len - name_len - 1;
            while (value_len && (p[name_len + value_len] == ' ' || p[name_len + value_len] == '\t'))
                value_len--;
            return token_copy(p + name_len + 1, value_len, ret, size);
        }
        p += len;
    }
    return false;
}

bool bearer_find(const char *authorization, char *ret, size_t size) {
    if (strncasecmp(authorization, "Bearer ", 7) != 0)
        return false;
    const char *p = authorization + 7;
    p += strspn(p, " ");
    return token_copy(p, strlen(p), ret, size);
}

void client_of(const char *address, char ret[static INET6_ADDRSTRLEN]) {
    struct in6_addr a;
    size_t len = strnlen(address, INET6_ADDRSTRLEN - 1);
    if (inet_pton(AF_INET6, address, &a) == 1 && !IN6_IS_ADDR_LINKLOCAL(&a) && !IN6_IS_ADDR_LOOPBACK(&a)) {
        memset(a.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &a, ret, INET6_ADDRSTRLEN);
        return;
    }
    memcpy(ret, address, len);
    ret[len] = 0;
}

/* Its length without the port 443, which may stand in one header and not in the other. */
static size_t host_length(const char *host) {
    size_t len = strlen(host);
    return len > 4 && memcmp(host + len - 4, ":443", 4) == 0 ? len - 4 : len;
}

bool origin_matches(const char *origin, const char *host) {
    if (strncasecmp(origin, "https://", 8) != 0 || !*host)
        return false;
    origin += 8;
    size_t len = host_length(origin);
    return len == host_length(host) && strncasecmp(origin, host, len) == 0;
}

int if_match_parse(const char *s, char ret[static 24]) {
    if (strcmp(s, "*") == 0)
        return 1;
    size_t len = strlen(s);
    if (len >= 2 && s[0] == '"' && s[len - 1] == '"') {
        s++;
        len -= 2;
    }
    if (len < 1 || len > 18 || strspn(s, "0123456789") < len)
        return -EINVAL;
    memcpy(ret, s, len);
    ret[len] = 0;
    return 0;
}

int listen_parse(const char *s, char host[static 64], int *ret_port) {
    const char *port = s, *end = NULL;
    const char *from = s;
    if (*s == '[') {
        from = s + 1;
        end = strchr(s, ']');
        if (!end || end[1] != ':')
            return -EINVAL;
        port = end + 2;
    } else if (strchr(s, ':')) {
        end = strrchr(s, ':');
        if (memchr(s, ':', (size_t)(end - s)))
            return -EINVAL; /* IPv6 without brackets */
        port = end + 1;
    }
    int64_t number;
    size_t len = end ? (size_t)(end - from) : 0;
    if (len >= 64 || decimal_parse(port, &number) < 0 || number > 65535)
        return -EINVAL;
    memcpy(host, from, len);
    host[len] = 0;
    *ret_port = (int)number;
    return 0;
}

static int version_parse(const char *s, int64_t ret[2]) {
    for (int i = 0; i < 2; i++) {
        size_t n = strspn(s, "0123456789");
        if (n < 1 || n > 9)
            return -EINVAL;
        ret[i] = 0;
        for (size_t k = 0; k < n; k++)
            ret[i] = ret[i] * 10 + (s[k] - '0');
        s += n;
        if (i == 0 && *s++ != '.')
            return -EINVAL;
    }
    return *s == 0 || *s == '.' || *s == '-' || *s == '+' || *s == '~' ? 0 : -EINVAL;
}

enum version_fit version_compare(const char *ours, const char *theirs) {
    int64_t a[2], b[2];
    if (version_parse(ours, a) < 0 || version_parse(theirs, b) < 0)
        return VERSION_MALFORMED;
    if (a[0] != b[0])
        return b[0] < a[0] ? VERSION_PEER_OLDER : VERSION_PEER_NEWER;
    int64_t d = b[1] - a[1];
    return d < -1 ? VERSION_PEER_OLDER : d > 1 ? VERSION_PEER_NEWER : VERSION_FITS;
}

bool list_has(const char *list, const char *word) {
    size_t len = strlen(word);
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ",");
        if (n == len && memcmp(p, word, n) == 0)
            return true;
        p += n + (p[n] == ',');
    }
    return false;
}

char *path_encode(const char *path) {
    struct buf b = {0};
    for (; *path; path++) {
        if (*path == '%')
            buf_adds(&b, "%25");
        else
            buf_addc(&b, *path);
    }
    return buf_take(&b);
}
