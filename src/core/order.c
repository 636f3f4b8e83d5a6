/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists by another field than their own, and of those that pass a filter. The first that is asked for has the whole
 * table looked at; the order is then kept as objects change, so that a page costs no more than one of the table itself.
 * A table has a few of them, those that were asked for last; nobody asked for one in five minutes: it is dropped.
 *
 * An order of a large table is made in pieces, with whatever happens in between. What has been looked at, up to a key
 * in the table's own order, is kept like an order that is made; the rest will be looked at as it is by then.
 *
 * Objects without a value come first, equal ones go by their ids: no two are ever the same.
 */
#include "core/core_int.h"

#define UNUSED_MS   300000
#define COST_SORTED 8   /* of putting an object in its place, in objects looked at */
#define BATCH       512 /* put there at once at most */

static bool take_scalar(void *ctx, const struct scalar *v) {
    struct row *r = ctx;
    r->text = v->is_number ? "" : v->text;
    r->number = v->number;
    r->is_number = v->is_number;
    return true;
}

static struct row row_of(const struct path *path, const struct object *o, const struct version *v) {
    struct row r = {.o = o, .id = o->id, .text = ""};
    if (!path->n)
        r.text = own_key(o->kind, o->id, v);
    else
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

static void sort(const struct path *path, struct object **list, size_t n) {
    struct row *rows = xcalloc(n + 1, sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] = row_of(path, list[i], list[i]->v);
    qsort(rows, n, sizeof *rows, compare_rows);
    for (size_t i = 0; i < n; i++)
        list[i] = (struct object *)rows[i].o;
    free(rows);
}

struct object **order_make(const struct path *path, struct object *const *list, size_t n) {
    struct object **sorted = xcalloc(n + 1, sizeof(struct object *));
    if (n)
        memcpy(sorted, list, n * sizeof(struct object *));
    sort(path, sorted, n);
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
    filter_done(&o->filter);
    free(o->list);
    free(o->at);
    *o = (struct order){0};
}

static struct order *order_known(struct core *c, struct table *t, const struct path *path, const struct filter *f) {
    for (size_t i = 0; i < ORDERS_MAX; i++) {
        struct order *o = &t->orders[i];
        if (!o->used || memcmp(&o->path, path, sizeof *path) != 0 || !filter_same(&o->filter, f))
            continue;
        o->used_at = c->mono_ms;
        return o;
    }
    return NULL;
}

const struct order *order_of(struct core *c, struct table *t, const struct path *path, const struct filter *f) {
    const struct order *o = order_known(c, t, path, f);
    return o && o->made ? o : NULL;
}

/* In the place of the one that has not been asked for the longest. */
static struct order *order_new(struct core *c, struct table *t, const struct path *path, const struct filter *f) {
    struct order *o = &t->orders[0];
    for (size_t i = 1; i < ORDERS_MAX && o->used; i++)
        if (!t->orders[i].used || t->orders[i].used_at < o->used_at)
            o = &t->orders[i];
    order_drop(o);
    o->used = true;
    o->path = *path;
    o->used_at = c->mono_ms;
    filter_copy(&o->filter, f);
    return o;
}

/* Puts objects that are sorted into the list: each of the others moves once. */
static void insert(struct order *o, struct object *const *add, size_t n) {
    while (o->n + n > o->cap) {
        o->cap = o->cap ? o->cap * 2 : 64;
        o->list = xreallocarray(o->list, o->cap, sizeof(struct object *));
    }
    size_t end = o->n;
    for (size_t i = n; i-- > 0;) {
        struct row key = row_of(&o->path, add[i], add[i]->v);
        size_t at = order_find(&o->path, o->list, end, &key);
        memmove(o->list + at + i + 1, o->list + at, (end - at) * sizeof(struct object *));
        o->list[at + i] = add[i];
        end = at;
    }
    o->n += n;
}

/* A walk over the table waits for memory more than for anything else: what comes next is asked for ahead of time. */
void order_look_ahead(struct object *const *list, size_t at, size_t n) {
    if (at + 16 >= n)
        return;
    __builtin_prefetch(list[at + 16]);
    __builtin_prefetch(list[at + 8]->v);
    __builtin_prefetch(list[at + 4]->v->data);
}

const struct order *order_go_on(struct core *c, enum api_kind kind, const struct path *path, const struct filter *f) {
    struct table *t = &c->tables[kind];
    struct order *o = order_known(c, t, path, f);
    if (!o)
        o = order_new(c, t, path, f);
    if (o->made)
        return o;
    struct object *batch[BATCH];
    size_t n = 0, left = core_slice(c), at = o->at ? table_lower_bound(t, kind, o->at) : 0;
    if (o->at && at < t->n && str_eq(own_key(kind, t->sorted[at]->id, t->sorted[at]->v), o->at))
        at++;
    for (; at < t->n && left && n < BATCH; at++, left--) {
        order_look_ahead(t->sorted, at, t->n);
        if (!filter_match(&o->filter, t->sorted[at]->v->data))
            continue;
        batch[n++] = t->sorted[at];
        if (path->n)
            left = left > COST_SORTED ? left - COST_SORTED : 1;
    }
    if (path->n)
        sort(path, batch, n);
    insert(o, batch, n);
    o->made = at == t->n;
    str_set(&o->at, o->made ? NULL : own_key(kind, t->sorted[at - 1]->id, t->sorted[at - 1]->v));
    return o->made ? o : NULL;
}

/* Whether an object with this version is in it, as far as it is made. */
static bool holds(const struct order *o, const struct object *object, const struct version *v) {
    return v && (o->made || (o->at && strcmp(own_key(object->kind, object->id, v), o->at) <= 0)) &&
           filter_match(&o->filter, v->data);
}

static bool same_place(const struct order *o, const struct object *object, const struct version *a,
                       const struct version *b) {
    struct row x = row_of(&o->path, object, a), y = row_of(&o->path, object, b);
    return compare_values(&x, &y) == 0;
}

unsigned orders_remove(struct table *t, const struct object *object, const struct version *next) {
    unsigned where = 0;
    for (size_t i = 0; i < ORDERS_MAX; i++) {
        struct order *o = &t->orders[i];
        if (!o->used)
            continue;
        bool was = holds(o, object, object->v), is = holds(o, object, next);
        if (was && is && same_place(o, object, object->v, next))
            continue;
        if (is)
            where |= 1u << i;
        if (!was)
            continue;
        struct row key = row_of(&o->path, object, object->v);
        size_t at = order_find(&o->path, o->list, o->n, &key);
        if (at >= o->n || o->list[at] != object) {
            order_drop(o); /* it is made again when somebody asks */
            where &= ~(1u << i);
            continue;
        }
        memmove(o->list + at, o->list + at + 1, (o->n - at - 1) * sizeof(struct object *));
        o->n--;
    }
    return where;
}

void orders_add(struct table *t, struct object *object, unsigned where) {
    for (size_t i = 0; i < ORDERS_MAX; i++)
        if (where & 1u << i)
            insert(&t->orders[i], &object, 1);
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
