/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash map from strings to pointers; keeps insertion order out of the interface. Keys are copied, except by a map
 * that borrows them, which is for those that are part of the values; values are the caller's. Open addressing, SipHash
 * keyed per process so that clients cannot choose colliding names; the key is set by map_seed() (the pure layers take
 * no randomness themselves).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    char *key; /* NULL: never used */
    void *value; /* NULL with a key: removed */
    uint64_t hash;
};
struct map {
    struct map_slot *slots;
    size_t cap, used, count;
    bool borrows; /* keys stay as they are until they are removed or put again; set while it is empty */
};

void map_seed(uint64_t k0, uint64_t k1); /* once, before any map is used */
void map_done(struct map *m);            /* values are not touched */
void *map_get(const struct map *m, const char *key);
/* Returns the value that was there, or NULL. value must not be NULL. */
void *map_put(struct map *m, const char *key, void *value);
void *map_remove(struct map *m, const char *key);
static inline size_t map_count(const struct map *m) { return m->count; }
/* Visits in no order; the current key may be removed while visiting. *pos starts at 0. */
bool map_next(const struct map *m, size_t *pos, const char **ret_key, void **ret_value);
