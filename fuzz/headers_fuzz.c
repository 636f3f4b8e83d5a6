/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as every small text of a request that the manager takes apart itself. */
#include "fuzz.h"

#include "base/mem.h"
#include "manager/parse.h"
#include "manager/site_pure.h"

#include <strings.h>

static void use(const char *text, const char *other) {
    char token[65], digits[24], host[64];
    int64_t number = -1;
    int port = -1;
    if (decimal_parse(text, &number) == 0 && number < 0)
        abort();
    if (cookie_find(text, "tarn_session", token, sizeof token) && (!*token || !strstr(text, token)))
        abort();
    if (bearer_find(text, token, sizeof token) && (!*token || strlen(token) >= sizeof token))
        abort();
    if (origin_matches(text, other) && strncasecmp(text, "https://", 8) != 0)
        abort();
    if (if_match_parse(text, digits) == 0 && decimal_parse(digits, &number) < 0)
        abort();
    if (listen_parse(text, host, &port) == 0 && (port < 0 || port > 65535))
        abort();
    enum version_fit fit = version_compare(text, other);
    if (fit == VERSION_FITS && version_compare(other, text) != VERSION_FITS)
        abort();
    list_has(text, other);
    coding_accepted(text, other);
    if (*other && coding_accepted(text, "br") && !strpbrk(text, "*bB"))
        abort();
    if (etag_listed(text, "\"x\"") && !strpbrk(text, "*x"))
        abort();
    if (path_is_route(text) && strncmp(text, "/assets/", 8) == 0)
        abort();
    if (!*media_type(text) || (host_is_local(text) && !*text))
        abort();
    free(path_encode(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* Two texts, parted by the first newline. */
    const uint8_t *newline = memchr(data, '\n', size);
    size_t first = newline ? (size_t)(newline - data) : size;
    _cleanup_free_ char *a = xstrndup((const char *)data, first);
    _cleanup_free_ char *b = newline ? xstrndup((const char *)newline + 1, size - first - 1) : xstrdup("");
    use(a, b);
    use(b, a);
    return 0;
}
