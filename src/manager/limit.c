/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/limit.h"

#include "base/map.h"
#include "base/mem.h"

#include <math.h>

struct bucket {
    double tokens;
    int64_t at_ms;
};

struct limiter {
    double rate, burst;
    size_t cap;
    struct map buckets;
};

struct limiter *limiter_new(double rate, double burst, size_t cap) {
    struct limiter *l = xcalloc(1, sizeof *l);
    *l = (struct limiter){.rate = rate, .burst = burst, .cap = cap};
    return l;
}

/* Forgets the clients whose buckets are full, or all of them. */
static void sweep(struct limiter *l, int64_t now_ms, bool all) {
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&l->buckets, &pos, &key, &value)) {
        struct bucket *b = value;
        if (all || b->tokens + (double)(now_ms - b->at_ms) / 1000 * l->rate >= l->burst) {
            map_remove(&l->buckets, key);
            free(b);
        }
    }
}

void limiter_free(struct limiter *l) {
    if (!l)
        return;
    sweep(l, 0, true);
    map_done(&l->buckets);
    free(l);
}

static void refill(const struct limiter *l, struct bucket *b, int64_t now_ms) {
    if (now_ms > b->at_ms)
        b->tokens = fmin(l->burst, b->tokens + (double)(now_ms - b->at_ms) / 1000 * l->rate);
    b->at_ms = now_ms;
}

static bool decide(const struct limiter *l, const struct bucket *b, int *ret_wait) {
    if (b->tokens >= 1)
        return true;
    if (ret_wait)
        *ret_wait = (int)ceil((1 - b->tokens) / l->rate);
    return false;
}

bool limiter_peek(struct limiter *l, const char *client, int64_t now_ms, int *ret_wait) {
    struct bucket *b = map_get(&l->buckets, client);
    if (!b)
        return true;
    refill(l, b, now_ms);
    return decide(l, b, ret_wait);
}

bool limiter_take(struct limiter *l, const char *client, int64_t now_ms, int *ret_wait) {
    struct bucket *b = map_get(&l->buckets, client);
    if (!b) {
        if (map_count(&l->buckets) >= l->cap) {
            sweep(l, now_ms, false);
            if (map_count(&l->buckets) >= l->cap)
                sweep(l, now_ms, true); /* a flood of names: better forgive everybody than grow */
        }
        b = xmalloc(sizeof *b);
        *b = (struct bucket){l->burst, now_ms};
        map_put(&l->buckets, client, b);
    }
    refill(l, b, now_ms);
    if (!decide(l, b, ret_wait))
        return false;
    b->tokens--;
    return true;
}

void limiter_give(struct limiter *l, const char *client) {
    struct bucket *b = map_get(&l->buckets, client);
    if (b)
        b->tokens = fmin(l->burst, b->tokens + 1);
}

size_t limiter_count(const struct limiter *l) { return map_count(&l->buckets); }
