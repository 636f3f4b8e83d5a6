/* SPDX-License-Identifier: Apache-2.0 */
/* Between store.c and the implementations: each begins with a struct store. */
#pragma once

#include "store/store.h"

struct store_ops {
    void (*close)(struct store *s);
    int (*load)(struct store *s, const char *prefix, store_item *item, void *ctx, struct error *e);
    int (*load_before)(struct store *s, const char *prefix, const char *before, int64_t limit, store_item *item,
                       void *ctx, struct error *e);
    int (*get)(struct store *s, const char *key, char **ret_value, size_t *ret_len, int64_t *ret_revision,
               struct error *e);
    int64_t (*revision)(struct store *s);
    void (*commit)(struct store *s, uint64_t seq, struct batch *b);
    void (*reset_error)(struct store *s);
};

struct store {
    const struct store_ops *ops;
};
