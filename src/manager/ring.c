/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/ring.h"

#include "base/mem.h"

void ring_init(struct ring *r, size_t cap, size_t max_bytes, int64_t revision) {
    *r = (struct ring){.items = xcalloc(cap, sizeof *r->items), .cap = cap, .max_bytes = max_bytes, .lost = revision};
}

static void drop_oldest(struct ring *r) {
    struct ring_item *it = &r->items[(r->next - r->n) % r->cap];
    if (!it->transient) {
        r->lost = it->revision;
        r->evicted = true;
    }
    r->bytes -= it->len;
    free(it->text);
    *it = (struct ring_item){0};
    r->n--;
}

void ring_done(struct ring *r) {
    while (r->n)
        drop_oldest(r);
    free(r->items);
    *r = (struct ring){0};
}

void ring_add(struct ring *r, int64_t revision, const char *kind, char *text, bool transient) {
    size_t len = strlen(text);
    while (r->n && (r->n == r->cap || r->bytes + len > r->max_bytes))
        drop_oldest(r);
    r->items[r->next % r->cap] = (struct ring_item){revision, kind, text, len, transient};
    r->next++;
    r->n++;
    r->bytes += len;
}

const struct ring_item *ring_get(const struct ring *r, uint64_t position) {
    if (position >= r->next || r->next - position > r->n)
        return NULL;
    return &r->items[position % r->cap];
}

bool ring_resume(const struct ring *r, int64_t since, bool (*wants)(const void *ctx, const char *kind), const void *ctx,
                 uint64_t *ret_position) {
    if (since < r->lost || (since == r->lost && r->evicted))
        return false;
    /* Newest first: who comes back has usually not been away for long. */
    uint64_t at = r->next, after = r->next;
    size_t same = 0;
    for (; r->next - at < r->n; at--) {
        const struct ring_item *it = &r->items[(at - 1) % r->cap];
        if (it->transient)
            continue;
        if (it->revision < since)
            break;
        if (it->revision > since)
            after = at - 1;
        else
            same += !wants || wants(ctx, it->kind);
    }
    *ret_position = same > 1 ? at : after;
    return true;
}
