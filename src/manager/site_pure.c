/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/site_pure.h"

#include "base/mem.h"

#include <strings.h>

/* q=0, q=0.0 … in the parameters of one item of Accept-Encoding. */
static bool refused(const char *params, size_t len) {
    for (const char *p = params, *end = params + len; p < end;) {
        while (p < end && (*p == ';' || *p == ' ' || *p == '\t'))
            p++;
        const char *stop = p;
        while (stop < end && *stop != ';')
            stop++;
        if (stop - p >= 3 && (*p == 'q' || *p == 'Q') && p[1] == '=') {
            for (p += 2; p < stop && (*p == '0' || *p == '.' || *p == ' ' || *p == '\t'); p++)
                ;
            return p == stop;
        }
        p = stop;
    }
    return false;
}

bool coding_accepted(const char *accept_encoding, const char *coding) {
    bool any = false;
    size_t coding_len = strlen(coding);
    for (const char *p = accept_encoding; *p;) {
        p += strspn(p, ", \t");
        size_t len = strcspn(p, ","), name = strcspn(p, ",; \t");
        if (name == coding_len && strncasecmp(p, coding, name) == 0)
            return !refused(p + name, len - name);
        if (name == 1 && *p == '*')
            any = !refused(p + name, len - name);
        p += len;
    }
    return any;
}

bool etag_listed(const char *if_none_match, const char *etag) {
    size_t etag_len = strlen(etag);
    for (const char *p = if_none_match; *p;) {
        p += strspn(p, ", \t");
        if (*p == '*')
            return true;
        if (p[0] == 'W' && p[1] == '/')
            p += 2;
        if (*p != '"') {
            p += strcspn(p, ",");
            continue;
        }
        const char *end = strchr(p + 1, '"');
        if (!end)
            return false;
        if ((size_t)(end + 1 - p) == etag_len && memcmp(p, etag, etag_len) == 0)
            return true;
        p = end + 1;
    }
    return false;
}

const char *media_type(const char *path) {
    static const struct {
        const char *ending, *type;
    } types[] = {
        {"html", "text/html; charset=utf-8"},
        {"js", "text/javascript; charset=utf-8"},
        {"mjs", "text/javascript; charset=utf-8"},
        {"css", "text/css; charset=utf-8"},
        {"json", "application/json"},
        {"map", "application/json"},
        {"webmanifest", "application/manifest+json"},
        {"txt", "text/plain; charset=utf-8"},
        {"svg", "image/svg+xml"},
        {"png", "image/png"},
        {"jpg", "image/jpeg"},
        {"webp", "image/webp"},
        {"ico", "image/x-icon"},
        {"woff", "font/woff"},
        {"woff2", "font/woff2"},
        {"ttf", "font/ttf"},
        {"wasm", "application/wasm"},
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < ARRAY_LEN(types); i++)
        if (strcasecmp(dot + 1, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

static bool is_below(const char *path, const char *top) {
    size_t len = strlen(top);
    return strncmp(path, top, len) == 0 && (path[len] == 0 || path[len] == '/');
}

bool path_is_route(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && !strchr(slash, '.') && !is_below(path, "/api") && !is_below(path, "/agent") &&
           !is_below(path, "/assets");
}

bool host_is_local(const char *host) {
    return strncasecmp(host, "localhost", 9) == 0 || strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0;
}
