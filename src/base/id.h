/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identifiers, names and other checked strings. Pure: randomness is a seeded generator that the shell seeds once
 * (xoshiro256**; ids are unique, not secret: secrets come from the shell).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct idgen {
    uint64_t s[4];
};
void idgen_init(struct idgen *g, const uint64_t seed[4]);
uint64_t idgen_next(struct idgen *g);

#define UUID_LEN 36
/* A UUIDv7 (RFC 9562): 48 bits of ms, so that ids sort by their time of making. */
void uuid_make(struct idgen *g, int64_t wall_ms, char ret[static UUID_LEN + 1]);
bool uuid_valid(const char *s); /* lower-case canonical form */

#define NAME_MAX_BYTES 128
/*
 * A name: 1 to 128 bytes of valid UTF-8, letters of any script, digits, and . _ - and single spaces inside; begins and
 * ends with a letter or digit; no control characters, no / \ < > & quotes, no "..", not the form of a UUID. NULL if it
 * is good, else what is wrong, as the rest of a sentence ("is longer than 128 bytes").
 */
const char *name_problem(const char *s);
/* One line that people read: any printable text, nothing that hides or reorders it. */
const char *label_problem(const char *s);
/* An absolute path without "." or ".." components or control characters; NULL if it is good. */
const char *path_problem(const char *s);
/* Whether the one is the other, or is inside of it, by their components. */
bool path_overlaps(const char *a, const char *b);
/* aa:bb:cc:dd:ee:ff, unicast; NULL if it is good. */
const char *mac_problem(const char *s);
bool utf8_valid(const char *s);
/* The code point at s (len bytes, at least one) and its length in bytes; -1 where this is not UTF-8 (RFC 3629). */
int32_t utf8_next(const char *s, size_t len, size_t *ret_len);
