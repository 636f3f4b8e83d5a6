/* SPDX-License-Identifier: Apache-2.0 */
/* IP addresses as text: parsed, compared, looked for in a network. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct address {
    int bits; /* 32 or 128 */
    uint8_t bytes[16];
};

/* "192.0.2.7" or "2001:db8::7"; no zone, no brackets. -EINVAL else. */
int address_parse(const char *text, struct address *ret);
/* "192.0.2.7/24". */
int address_parse_network(const char *text, struct address *ret, int *ret_prefix);
bool address_equal(const struct address *a, const struct address *b);
/* Whether both are in one network with this prefix. */
bool address_near(const struct address *a, const struct address *b, int prefix);
/* Of this machine alone: 127.0.0.0/8, ::1. */
bool address_is_loopback(const struct address *a);
/* One machine's: not 0.0.0.0 or ::, which stand for any, no multicast and no broadcast address. */
bool address_is_host(const struct address *a);
