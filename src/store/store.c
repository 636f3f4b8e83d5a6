/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_ops.h"

void store_close(struct store *s) {
    if (s)
        s->ops->close(s);
}

int store_load(struct store *s, const char *prefix, store_item *item, void *ctx, struct error *e) {
    return s->ops->load(s, prefix, item, ctx, e);
}

int store_load_before(struct store *s, const char *prefix, const char *before, int64_t limit, store_item *item,
                      void *ctx, struct error *e) {
    return s->ops->load_before(s, prefix, before, limit, item, ctx, e);
}

int store_get(struct store *s, const char *key, char **ret_value, size_t *ret_len, int64_t *ret_revision,
              struct error *e) {
    return s->ops->get(s, key, ret_value, ret_len, ret_revision, e);
}

int64_t store_revision(struct store *s) { return s->ops->revision(s); }
void store_commit(struct store *s, uint64_t seq, struct batch *b) { s->ops->commit(s, seq, b); }
void store_reset_error(struct store *s) { s->ops->reset_error(s); }
