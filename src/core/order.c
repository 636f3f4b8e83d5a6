/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists by another field than their own. The first that is asked for sorts the table once; the order is then kept as
 * objects change, so that a page costs no more than one in the table's own order. A table has a few of them, those that
 * were asked for last; nobody asked for one in five minutes: it is dropped.
 *
 * Objects without a value come first, equal ones go by their ids: no two are ever the same.
 */
#include "core/core_int.h"

#define UNUSED_MS 300000

static bool take_scalar(void *ctx, const struct scalar *v) {
    struct row *r = ctx;
    r->text = v->is_number ? "" : v->text;
    r->number = v->number;
    r->is_number = v->is_number;
    return true;
}

static struct row row_of(const struct path *path, const struct object *o, const struct version *v) {
    struct row r = {.o = o, .id = o->id, .text = ""};
    path_visit(path, 0, v->data, take_scalar, &r);
    return r;
}

static int compare_values(const struct row *x, const struct row *y) {
    if (x->is_number != y->is_number)
        return x->is_number ? 1 : -1;
    if (x->is_number)
        return x->number < y->number ? -1 : x->number > y->number;
    return strcmp(x->text, y->text);
}

static int compare_rows(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    int r = compare_values(x, y);
    return r ? r : strcmp(x->id, y->id);
}

struct object **order_make(const struct path *path, struct object *const *list, size_t n) {
    struct row *rows = xcalloc(n + 1, sizeof *rows);
    struct object **sorted = xcalloc(n + 1, sizeof(struct object *));
    for (size_t i = 0; i < n; i++)
        rows[i] = row_of(path, list[i], list[i]->v);
    qsort(rows, n, sizeof *rows, compare_rows);
    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct object *)rows[i].o;
    free(rows);
    return sorted;
}

size_t order_find(const struct path *path, struct object *const *list, size_t n, const struct row *key) {
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        struct row r = row_of(path, list[mid], list[mid]->v);
        if (compare_rows(&r, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* What follows a cursor: "ID:VALUE" of the last object that was shown. */
struct row order_cursor(const struct path *path, const char *after, char **ret_id) {
    const struct api_field *f = path->fields[path->n - 1];
    size_t len = strcspn(after, ":");
    *ret_id = xstrndup(after, len);
    struct row r = {.id = *ret_id, .text = after[len] ? after + len + 1 : ""};
    if ((f->type == API_TYPE_INTEGER || f->type == API_TYPE_NUMBER) && *r.text) {
        r.is_number = true;
        r.number = strtod(r.text, NULL);
        r.text = "";
    }
    return r;
}

char *order_cursor_of(const struct path *path, const struct object *o) {
    struct row r = row_of(path, o, o->v);
    return r.is_number ? xasprintf("%s:%.17g", r.id, r.number) : xasprintf("%s:%s", r.id, r.text);
}

static void order_drop(struct order *o) {
    free(o->list);
    *o = (struct order){0};
}

struct object *const *order_of(struct core *c, struct table *t, const struct path *path) {
    struct order *oldest = &t->orders[0];
    for (size_t i = 0; i < ORDERS_MAX; i++) {
        struct order *o = &t->orders[i];
        if (o->list && memcmp(&o->path, path, sizeof *path) == 0) {
            o->used_at = c->mono_ms;
            return o->list;
        }
        if (!o->list || (oldest->list && o->used_at < oldest->used_at))
            oldest = o;
    }
    order_drop(oldest);
    oldest->path = *path;
    oldest->used_at = c->mono_ms;
    oldest->list = order_make(path, t->sorted, t->n);
    oldest->n = t->n;
    oldest->cap = t->n + 1;
    return oldest->list;
}

/* Whether it stays at its place. */
static bool same_place(const struct order *o, const struct object *object, const struct version *a,
                       const struct version *b) {
    if (!a || !b)
        return false;
    struct row x = row_of(&o->path, object, a), y = row_of(&o->path, object, b);
    return compare_values(&x, &y) == 0;
}

void orders_remove(struct table *t, const struct object *object, const struct version *next) {
    for (size_t i = 0; i < ORDERS_MAX; i++) {
        struct order *o = &t->orders[i];
        if (!o->list || same_place(o, object, object->v, next))
            continue;
        struct row key = row_of(&o->path, object, object->v);
        size_t at = order_find(&o->path, o->list, o->n, &key);
        if (at >= o->n || o->list[at] != object) {
            order_drop(o); /* it is made again when somebody asks */
            continue;
        }
        memmove(o->list + at, o->list + at + 1, (o->n - at - 1) * sizeof(struct object *));
        o->n--;
    }
}

void orders_add(struct table *t, struct object *object, const struct version *before) {
    for (size_t i = 0; i < ORDERS_MAX; i++) {
        struct order *o = &t->orders[i];
        if (!o->list || same_place(o, object, before, object->v))
            continue;
        if (o->n == o->cap) {
            o->cap *= 2;
            o->list = xreallocarray(o->list, o->cap, sizeof(struct object *));
        }
        struct row key = row_of(&o->path, object, object->v);
        size_t at = order_find(&o->path, o->list, o->n, &key);
        memmove(o->list + at + 1, o->list + at, (o->n - at) * sizeof(struct object *));
        o->list[at] = object;
        o->n++;
    }
}

void orders_sweep(struct core *c) {
    for (int kind = 0; kind < API_KIND_COUNT; kind++)
        for (size_t i = 0; i < ORDERS_MAX; i++)
            if (c->tables[kind].orders[i].used_at + UNUSED_MS < c->mono_ms)
                order_drop(&c->tables[kind].orders[i]);
}

void orders_done(struct table *t) {
    for (size_t i = 0; i < ORDERS_MAX; i++)
        order_drop(&t->orders[i]);
}
