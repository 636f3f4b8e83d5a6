/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>

int address_parse(const char *text, struct address *ret) {
    struct address a = {.bits = strchr(text, ':') ? 128 : 32};
    if (inet_pton(a.bits == 128 ? AF_INET6 : AF_INET, text, a.bytes) != 1)
        return -EINVAL;
    *ret = a;
    return 0;
}

int address_parse_network(const char *text, struct address *ret, int *ret_prefix) {
    const char *slash = strchr(text, '/');
    char *end;
    if (!slash || slash[1] < '0' || slash[1] > '9')
        return -EINVAL;
    _cleanup_free_ char *host = xstrndup(text, (size_t)(slash - text));
    long prefix = strtol(slash + 1, &end, 10);
    struct address a;
    if (*end || address_parse(host, &a) < 0 || prefix > a.bits)
        return -EINVAL;
    *ret = a;
    *ret_prefix = (int)prefix;
    return 0;
}

bool address_equal(const struct address *a, const struct address *b) { return address_near(a, b, a->bits); }

bool address_near(const struct address *a, const struct address *b, int prefix) {
    if (a->bits != b->bits || prefix < 0 || prefix > a->bits)
        return false;
    size_t whole = (size_t)prefix / 8;
    unsigned rest = (unsigned)prefix % 8, mask = 0xff00u >> rest & 0xffu;
    return memcmp(a->bytes, b->bytes, whole) == 0 && (!rest || ((a->bytes[whole] ^ b->bytes[whole]) & mask) == 0);
}

bool address_is_loopback(const struct address *a) {
    static const uint8_t six[16] = {[15] = 1};
    return a->bits == 32 ? a->bytes[0] == 127 : memcmp(a->bytes, six, sizeof six) == 0;
}

bool address_is_host(const struct address *a) {
    static const uint8_t none[16];
    if (a->bits == 32)
        return a->bytes[0] != 0 && a->bytes[0] < 224;
    return memcmp(a->bytes, none, sizeof none) != 0 && a->bytes[0] != 0xff;
}
