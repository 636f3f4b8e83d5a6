/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch of changes to a store: compares, puts and deletes over any keys, which take effect together or not at all.
 * Made by the pure layers, committed by src/store. Keys are KIND/ID; values are bytes (JSON text).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum batch_op_kind {
    BATCH_PUT,
    BATCH_DELETE,
    BATCH_COMPARE_ABSENT, /* the whole batch fails with -ESTALE if the key exists */
};

struct batch_op {
    enum batch_op_kind kind;
    char *key;   /* owned */
    char *value; /* owned; for BATCH_PUT */
    size_t len;
};

struct batch {
    struct batch_op *ops; /* owned */
    size_t n, cap;
};

struct batch *batch_new(void);
void batch_free(struct batch *b);
void batch_put(struct batch *b, const char *key, const char *value, size_t len); /* copies */
void batch_put_take(struct batch *b, const char *key, char *value, size_t len);  /* owns value */
void batch_delete(struct batch *b, const char *key);
void batch_compare_absent(struct batch *b, const char *key);
