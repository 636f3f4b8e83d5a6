/* SPDX-License-Identifier: Apache-2.0 */
#include "base/batch.h"

#include "base/mem.h"

struct batch *batch_new(void) { return xcalloc(1, sizeof(struct batch)); }

void batch_free(struct batch *b) {
    if (!b)
        return;
    for (size_t i = 0; i < b->n; i++) {
        free(b->ops[i].key);
        free(b->ops[i].value);
    }
    free(b->ops);
    free(b);
}

static struct batch_op *add(struct batch *b, enum batch_op_kind kind, const char *key) {
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 4;
        b->ops = xreallocarray(b->ops, b->cap, sizeof *b->ops);
    }
    b->ops[b->n] = (struct batch_op){.kind = kind, .key = xstrdup(key)};
    return &b->ops[b->n++];
}

void batch_put(struct batch *b, const char *key, const char *value, size_t len) {
    char *copy = xmalloc(len + 1);
    memcpy(copy, value, len);
    copy[len] = 0;
    batch_put_take(b, key, copy, len);
}

void batch_put_take(struct batch *b, const char *key, char *value, size_t len) {
    struct batch_op *op = add(b, BATCH_PUT, key);
    op->value = value;
    op->len = len;
}

void batch_delete(struct batch *b, const char *key) { add(b, BATCH_DELETE, key); }
void batch_compare_absent(struct batch *b, const char *key) { add(b, BATCH_COMPARE_ABSENT, key); }
