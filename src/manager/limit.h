/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets by client. Pure. A limiter never holds more than its cap of clients: full buckets are forgotten first.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct limiter;
/* rate: tokens a second; burst: what a bucket holds; cap: how many clients are remembered. */
struct limiter *limiter_new(double rate, double burst, size_t cap);
void limiter_free(struct limiter *l);
/* Takes one token of the client's. False: none is there; *ret_wait (may be NULL): seconds until one is. */
bool limiter_take(struct limiter *l, const char *client, int64_t now_ms, int *ret_wait);
/* Gives back what was taken for something that turned out well. */
void limiter_give(struct limiter *l, const char *client);
/* The same as taking without taking it. */
bool limiter_peek(struct limiter *l, const char *client, int64_t now_ms, int *ret_wait);
size_t limiter_count(const struct limiter *l);
