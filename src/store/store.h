/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The management repository: a revisioned key-value store. Keys are KIND/ID, values JSON text. Commits are
 * asynchronous, in order, grouped into one flush by the implementation (sqlite.c has one writer thread), and reported
 * on the loop's thread. When a commit fails, those queued behind it fail too without being tried, until
 * store_reset_error().
 *
 * Used by tarn-manager for the inventory and by tarn-agent for its guests and op ids.
 */
#pragma once

#include "base/batch.h"
#include "base/error.h"

#include <stdint.h>

struct store;
struct store_ops;

/* seq is the caller's number; result 0 or a negative errno (-ENOSPC, -EIO, -EROFS, -ESTALE a compare did not hold). */
typedef void store_done(void *ctx, uint64_t seq, int result);
typedef int store_item(void *ctx, const char *key, const char *value, size_t len, int64_t revision);

/*
 * SQLite: WAL, synchronous=FULL, 8 KiB pages; table log(rev, key, value, deleted) holds each value once, table
 * head(key, rev) points into it. user_version is the schema's version: an older file is copied to PATH.vN and migrated
 * in one transaction, a newer one is refused (ERR_VERSION), as are a corrupt (quick_check) and a read-only one, each
 * with what to do. Old revisions are kept for history of kinds "job" and "event" only as their heads; other superseded
 * values are pruned in the background. loop: uv_loop_t *, on which done is called.
 */
int store_open_sqlite(const char *path, void *loop, store_done *done, void *ctx, struct store **ret, struct error *e);
/* Nothing survives; for tests and the simulator. done is called from inside store_commit. Faults are set by
   store_memory_fail(). */
int store_open_memory(store_done *done, void *ctx, struct store **ret);
/* Flushes what is queued; done is not called any more. The loop must turn once more to free the handle. NULL is
 * allowed. */
void store_close(struct store *s);

/* Every live key with this prefix, in key order; stops at the first non-zero return of item and returns it. */
int store_load(struct store *s, const char *prefix, store_item *item, void *ctx, struct error *e);
/* At most limit live keys with the prefix and below `before` (NULL: no bound), in descending order: history, newest
 * first. */
int store_load_before(struct store *s, const char *prefix, const char *before, int64_t limit, store_item *item,
                      void *ctx, struct error *e);
int store_get(struct store *s, const char *key, char **ret_value, size_t *ret_len, int64_t *ret_revision,
              struct error *e);
int64_t store_revision(struct store *s);

void store_commit(struct store *s, uint64_t seq, struct batch *b); /* owns b */
/* After a failure: take commits again, those that come from now on. */
void store_reset_error(struct store *s);

/* memory.c: the next n commits succeed, then they fail with result until the next call; n < 0: never fail. */
void store_memory_fail(struct store *s, int n, int result);
