/* SPDX-License-Identifier: Apache-2.0 */
/* JSON on jansson: strict, capped parsing of what others send, and short accessors. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_MAX_DEPTH 64

static inline void json_unrefp(json_t **j) { json_decref(*j); }
#define _cleanup_json_ __attribute__((cleanup(json_unrefp)))

/*
 * Parses len bytes of UTF-8. Refuses, with an error that says where: trailing bytes, duplicate keys, nesting deeper
 * than JSON_MAX_DEPTH (found before jansson recurses), NUL in strings, numbers out of range. The result is the
 * caller's.
 */
int json_parse(const char *text, size_t len, json_t **ret, struct error *e);

/*
 * For documents that are parsed, read and dropped at once, many times a second: until json_scratch_end() what this
 * thread makes of JSON lies in one block that is used again and again, which is several times faster than finding a
 * place for each value, and leaves no holes. All of it must have been dropped before the end. Before any other use of
 * JSON in the process: json_scratch_init().
 */
void json_scratch_init(void);
void json_scratch_begin(void);
void json_scratch_end(void);

/* Compact text, keys in their order of insertion; malloc'd. */
char *json_text(const json_t *j);

const char *json_str(const json_t *object, const char *key); /* "" if absent or no string; borrowed */
int64_t json_int(const json_t *object, const char *key, int64_t otherwise);
double json_num(const json_t *object, const char *key, double otherwise);
bool json_bool(const json_t *object, const char *key, bool otherwise);
void json_set_str(json_t *object, const char *key, const char *value); /* NULL is stored as "" */
void json_set_int(json_t *object, const char *key, int64_t value);

/* RFC 7396 merge patch: a new value from target and patch. */
json_t *json_merge_patch(const json_t *target, const json_t *patch);

/*
 * Makes what a stranger says bearable, in place: texts longer than JSON_TAME_TEXT bytes are cut (between characters),
 * control characters but line break and tab become question marks, and numbers are brought between -JSON_TAME_NUMBER
 * and +JSON_TAME_NUMBER, so that a hundred of them can be added up. Lists and objects stay as they are.
 */
#define JSON_TAME_TEXT   4096
#define JSON_TAME_NUMBER (INT64_C(1) << 56)
void json_tame(json_t *j);
