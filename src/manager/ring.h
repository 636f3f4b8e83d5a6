/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recent changes, which the stream's clients read at their own pace: each client is only a position here, so that a
 * slow one costs nothing and is known to have lost its place when its position has been overwritten. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring_item {
    int64_t revision;
    const char *kind; /* static */
    char *text;       /* owned */
    size_t len;
    bool transient; /* progress: told to who listens now, not to who comes back */
};

struct ring {
    struct ring_item *items;
    size_t cap, max_bytes;
    size_t n, bytes;
    uint64_t next; /* the position of the next item; the oldest is next - n */
    int64_t lost;  /* the highest revision that is not or no longer here */
    bool evicted;  /* lost was here once: some items of that revision may have been told, others not */
};

void ring_init(struct ring *r, size_t cap, size_t max_bytes, int64_t revision);
void ring_done(struct ring *r);
void ring_add(struct ring *r, int64_t revision, const char *kind, char *text /* owned */, bool transient);
/* NULL if it has been overwritten or does not exist yet. */
const struct ring_item *ring_get(const struct ring *r, uint64_t position);
/*
 * Where a client that has seen revision `since` goes on; false if changes after it have been overwritten. wants (NULL:
 * all) says which items the client is told. One revision may have several items, and a client may have been cut off
 * between them: where it is told more than one of revision `since`, it gets them again.
 */
bool ring_resume(const struct ring *r, int64_t since, bool (*wants)(const void *ctx, const char *kind), const void *ctx,
                 uint64_t *ret_position);
