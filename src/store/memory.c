/* SPDX-License-Identifier: Apache-2.0 */
/* The store of the tests and the simulator: a sorted array. done is called from inside store_commit. */
#include "base/mem.h"
#include "store/store_ops.h"

#include <errno.h>

struct item {
    char *key, *value; /* owned */
    size_t len;
    int64_t revision;
};

struct memory {
    struct store store;
    struct item *items; /* sorted by key */
    size_t n, cap;
    int64_t revision;
    store_done *done;
    void *ctx;
    int good_left, fault; /* store_memory_fail() */
    int failed;           /* since a commit failed: what every one gets until store_reset_error() */
};

/* Where key is, or would be. */
static size_t find(const struct memory *m, const char *key) {
    size_t low = 0, high = m->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(m->items[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct memory *m, size_t i, const char *key) {
    return i < m->n && strcmp(m->items[i].key, key) == 0;
}

static void item_put(struct memory *m, struct batch_op *op) {
    size_t i = find(m, op->key);
    if (!is_at(m, i, op->key)) {
        if (m->n == m->cap) {
            m->cap = m->cap ? m->cap * 2 : 64;
            m->items = xreallocarray(m->items, m->cap, sizeof *m->items);
        }
        memmove(&m->items[i + 1], &m->items[i], (m->n - i) * sizeof *m->items);
        m->items[i] = (struct item){.key = TAKE_PTR(op->key)};
        m->n++;
    }
    str_take(&m->items[i].value, TAKE_PTR(op->value));
    m->items[i].len = op->len;
    m->items[i].revision = ++m->revision;
}

static void item_delete(struct memory *m, const char *key) {
    size_t i = find(m, key);
    if (!is_at(m, i, key))
        return;
    free(m->items[i].key);
    free(m->items[i].value);
    m->n--;
    memmove(&m->items[i], &m->items[i + 1], (m->n - i) * sizeof *m->items);
    m->revision++;
}

static int apply(struct memory *m, struct batch *b) {
    if (m->failed)
        return m->failed;
    if (m->good_left == 0) {
        m->failed = m->fault;
        return m->failed;
    }
    for (size_t i = 0; i < b->n; i++)
        if (b->ops[i].kind == BATCH_COMPARE_ABSENT && is_at(m, find(m, b->ops[i].key), b->ops[i].key))
            return -ESTALE;
    if (m->good_left > 0)
        m->good_left--;
    for (size_t i = 0; i < b->n; i++) {
        if (b->ops[i].kind == BATCH_PUT)
            item_put(m, &b->ops[i]);
        else if (b->ops[i].kind == BATCH_DELETE)
            item_delete(m, b->ops[i].key);
    }
    return 0;
}

static void memory_commit(struct store *s, uint64_t seq, struct batch *b) {
    struct memory *m = (struct memory *)s;
    int result = apply(m, b);
    batch_free(b);
    m->done(m->ctx, seq, result);
}

static void memory_close(struct store *s) {
    struct memory *m = (struct memory *)s;
    for (size_t i = 0; i < m->n; i++) {
        free(m->items[i].key);
        free(m->items[i].value);
    }
    free(m->items);
    free(m);
}

static int memory_load(struct store *s, const char *prefix, store_item *item, void *ctx, struct error *e) {
    struct memory *m = (struct memory *)s;
    size_t len = strlen(prefix);
    for (size_t i = find(m, prefix); i < m->n && strncmp(m->items[i].key, prefix, len) == 0; i++) {
        int r = item(ctx, m->items[i].key, m->items[i].value, m->items[i].len, m->items[i].revision);
        if (r != 0)
            return r;
    }
    return 0;
}

static int memory_load_before(struct store *s, const char *prefix, const char *before, int64_t limit, store_item *item,
                              void *ctx, struct error *e) {
    struct memory *m = (struct memory *)s;
    size_t len = strlen(prefix), i = find(m, prefix);
    while (i < m->n && strncmp(m->items[i].key, prefix, len) == 0 && (!before || strcmp(m->items[i].key, before) < 0))
        i++;
    while (i-- > 0 && limit-- > 0 && strncmp(m->items[i].key, prefix, len) == 0) {
        int r = item(ctx, m->items[i].key, m->items[i].value, m->items[i].len, m->items[i].revision);
        if (r != 0)
            return r;
    }
    return 0;
}

static int memory_get(struct store *s, const char *key, char **ret_value, size_t *ret_len, int64_t *ret_revision,
                      struct error *e) {
    struct memory *m = (struct memory *)s;
    size_t i = find(m, key);
    if (!is_at(m, i, key))
        return error_set(e, ERR_NOT_FOUND, "the store has no %s", key);
    *ret_value = xstrndup(m->items[i].value, m->items[i].len);
    if (ret_len)
        *ret_len = m->items[i].len;
    if (ret_revision)
        *ret_revision = m->items[i].revision;
    return 0;
}

static int64_t memory_revision(struct store *s) { return ((struct memory *)s)->revision; }
static void memory_reset_error(struct store *s) { ((struct memory *)s)->failed = 0; }

static const struct store_ops memory_ops = {
    .close = memory_close,
    .load = memory_load,
    .load_before = memory_load_before,
    .get = memory_get,
    .revision = memory_revision,
    .commit = memory_commit,
    .reset_error = memory_reset_error,
};

int store_open_memory(store_done *done, void *ctx, struct store **ret) {
    struct memory *m = xcalloc(1, sizeof *m);
    *m = (struct memory){.store.ops = &memory_ops, .done = done, .ctx = ctx, .good_left = -1};
    *ret = &m->store;
    return 0;
}

void store_memory_fail(struct store *s, int n, int result) {
    struct memory *m = (struct memory *)s;
    if (s->ops != &memory_ops)
        return;
    m->good_left = n < 0 ? -1 : n;
    m->fault = result;
}
