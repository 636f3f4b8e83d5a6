/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Argon2id (RFC 9106) on two worker threads at most, with a short queue: a flood of sign-ins is told to come back later
 * and takes neither the memory nor the processors from everybody else.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <uv.h>

struct passwords;
struct passwords *passwords_new(uv_loop_t *loop);
void passwords_free(struct passwords *p); /* waits for the work under way; no callback comes any more */

/* -EAGAIN when the queue is full. hash: encoded, the callback's to copy; NULL when it failed. */
typedef void passwords_hashed(void *ctx, const char *hash);
int passwords_hash(struct passwords *p, const char *password, passwords_hashed *done, void *ctx);
/* hash NULL: the user does not exist; the same work is done and the answer is false. */
typedef void passwords_verified(void *ctx, bool good);
int passwords_verify(struct passwords *p, const char *password, const char *hash, passwords_verified *done, void *ctx);
/* At once, on this thread: for the first user. */
char *password_hash_now(const char *password);
