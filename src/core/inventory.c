/* SPDX-License-Identifier: Apache-2.0 */
/* The objects: by kind and id, by unique name, and in the order in which lists show them. */
#include "core/core_int.h"

#include <ctype.h>
#include <stdlib.h>

bool kind_named(enum api_kind kind) {
    switch (kind) {
    case API_KIND_USER:
    case API_KIND_SERVER:
    case API_KIND_REPOSITORY:
    case API_KIND_TEMPLATE:
    case API_KIND_DISK:
    case API_KIND_ISO:
    case API_KIND_VM:
    case API_KIND_POOL:
    case API_KIND_RULE:
        return true;
    default: /* the names of tokens and uploads are labels */
        return false;
    }
}

const char *kind_id(enum api_kind kind, const void *data) {
    return *(char *const *)((const char *)data + api_kinds[kind].id_offset);
}

const char *kind_name(enum api_kind kind, const void *data) {
    if (api_kinds[kind].name_offset == API_NO_OFFSET)
        return NULL;
    return *(char *const *)((const char *)data + api_kinds[kind].name_offset);
}

const char *own_key(enum api_kind kind, const char *id, const struct version *v) {
    return kind_named(kind) ? kind_name(kind, v->data) : id;
}

static const char *sort_key(enum api_kind kind, const struct object *o) { return own_key(kind, o->id, o->v); }

const char *object_name(const struct object *o) {
    const char *name = kind_name(o->kind, o->v->data);
    return name ? name : o->id;
}

void *core_copy(enum api_kind kind, const void *data) {
    void *copy = xcalloc(1, api_kinds[kind].size);
    api_kinds[kind].copy(copy, data);
    return copy;
}

/*
 * Virtual machines and servers are listed and watched all the time, a hundred for an answer. For the others, of which
 * there may be more, a few microseconds each time are less than the memory of their text: jobs, events, disks.
 */
static bool keeps_text(enum api_kind kind) { return kind == API_KIND_VM || kind == API_KIND_SERVER; }

struct version *version_new(enum api_kind kind, void *data) {
    struct version *v = xcalloc(1, sizeof *v);
    struct buf text = {0};
    v->data = data;
    if (!keeps_text(kind))
        return v;
    api_kinds[kind].write(data, API_PUBLIC, &text);
    v->len = text.len;
    v->text = buf_take_fitted(&text);
    return v;
}

void version_write(enum api_kind kind, const struct version *v, struct buf *out) {
    if (v->text)
        buf_add(out, v->text, v->len);
    else
        api_kinds[kind].write(v->data, API_PUBLIC, out);
}

void version_free(enum api_kind kind, struct version *v) {
    if (!v)
        return;
    api_kinds[kind].done(v->data);
    free(v->data);
    free(v->text);
    free(v);
}

struct object *core_find(const struct core *c, enum api_kind kind, const char *id_or_name) {
    const struct table *t = &c->tables[kind];
    struct object *o = map_get(&t->by_id, id_or_name);
    if (!o && kind_named(kind))
        o = map_get(&t->by_name, id_or_name);
    return o && o->v ? o : NULL;
}

void *core_data(const struct core *c, enum api_kind kind, const char *id_or_name) {
    struct object *o = core_find(c, kind, id_or_name);
    return o ? o->v->data : NULL;
}

/* The first position whose key is not below key. */
size_t table_lower_bound(const struct table *t, enum api_kind kind, const char *key) {
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(sort_key(kind, t->sorted[mid]), key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int compare_named(const void *a, const void *b) {
    const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;
    return strcmp(kind_name(x->kind, x->v->data), kind_name(y->kind, y->v->data));
}

static int compare_ids(const void *a, const void *b) {
    return strcmp((*(struct object *const *)a)->id, (*(struct object *const *)b)->id);
}

void table_sort(struct table *t, enum api_kind kind) {
    if (t->unsorted && t->n)
        qsort(t->sorted, t->n, sizeof *t->sorted, kind_named(kind) ? compare_named : compare_ids);
    t->unsorted = false;
}

static void sorted_add(struct table *t, struct object *o) {
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->sorted = xreallocarray(t->sorted, t->cap, sizeof *t->sorted);
    }
    size_t at = t->unsorted ? t->n : table_lower_bound(t, o->kind, sort_key(o->kind, o));
    memmove(t->sorted + at + 1, t->sorted + at, (t->n - at) * sizeof *t->sorted);
    t->sorted[at] = o;
    t->n++;
}

/* o still has the version under whose key it is filed. */
static void sorted_remove(struct table *t, struct object *o) {
    table_sort(t, o->kind);
    size_t at = table_lower_bound(t, o->kind, sort_key(o->kind, o));
    if (at < t->n && t->sorted[at] == o) {
        memmove(t->sorted + at, t->sorted + at + 1, (t->n - at - 1) * sizeof *t->sorted);
        t->n--;
    }
}

/* Addresses of network cards are unique; the index is by the address in lower case. */
static void index_macs(struct core *c, struct object *o, bool add) {
    const struct api_vm *vm = o->v->data;
    for (size_t i = 0; i < vm->n_nics; i++) {
        char mac[24] = "";
        for (size_t k = 0; vm->nics[i].mac[k] && k < sizeof mac - 1; k++)
            mac[k] = (char)tolower((unsigned char)vm->nics[i].mac[k]);
        if (!*mac)
            continue;
        if (add)
            map_put(&c->macs, mac, o);
        else if (map_get(&c->macs, mac) == o)
            map_remove(&c->macs, mac);
    }
}

static void count(struct core *c, struct object *o, int by) {
    c->counts.objects[o->kind] += (size_t)by;
    count_state(c, o, by);
    if (o->kind == API_KIND_VM) {
        index_macs(c, o, by > 0);
        load_count(c, o, by);
    } else if (o->kind == API_KIND_JOB) {
        undo_index(c, o, by > 0);
    } else if (o->kind == API_KIND_ALARM) {
        alarms_index(c, o, by > 0);
    }
}

struct version *object_swap(struct core *c, struct object *o, struct version *v, int64_t revision) {
    struct table *t = &c->tables[o->kind];
    struct version *old = o->v;
    t->swaps++;
    bool same_key =
        old && v && (!kind_named(o->kind) || str_eq(kind_name(o->kind, old->data), kind_name(o->kind, v->data)));
    unsigned orders = orders_remove(t, o, v);
    if (old) {
        count(c, o, -1);
        if (!same_key) {
            sorted_remove(t, o);
            if (kind_named(o->kind))
                map_remove(&t->by_name, kind_name(o->kind, old->data));
        }
    }
    o->v = v;
    o->revision = revision;
    if (v) {
        count(c, o, 1);
        if (!same_key) {
            sorted_add(t, o);
            if (kind_named(o->kind))
                map_put(&t->by_name, kind_name(o->kind, v->data), o);
        }
    }
    orders_add(t, o, orders);
    tags_index(c, o, old);
    if (o->kind == API_KIND_UPLOAD && !o->v)
        map_remove(&c->arriving, o->id);
    search_update(c->search, o);
    recover_observe(c, o, old);
    return old;
}

void table_insert(struct core *c, struct object *o) { map_put(&c->tables[o->kind].by_id, o->id, o); }

void object_forget(struct core *c, struct object *o) {
    version_free(o->kind, object_swap(c, o, NULL, 0));
    map_remove(&c->tables[o->kind].by_id, o->id);
    free(o->id);
    free(o);
}

void core_inventory_done(struct core *c) {
    map_done(&c->macs);
    tags_done(c);
    map_done(&c->alarms);
    map_done(&c->undoable);
    counts_done(c);
    for (int kind = 0; kind < API_KIND_COUNT; kind++) {
        struct table *t = &c->tables[kind];
        size_t pos = 0;
        void *value;
        while (map_next(&t->by_id, &pos, NULL, &value)) {
            struct object *o = value;
            version_free((enum api_kind)kind, o->v);
            free(o->id);
            free(o);
        }
        map_done(&t->by_id);
        map_done(&t->by_name);
        free(t->sorted);
        orders_done(t);
    }
}

const char *kind_word(enum api_kind kind) {
    switch (kind) {
    case API_KIND_VM:
        return "virtual machine";
    case API_KIND_DISK:
        return "virtual disk";
    case API_KIND_REPOSITORY:
        return "storage repository";
    case API_KIND_POOL:
        return "server pool";
    case API_KIND_RULE:
        return "placement rule";
    case API_KIND_ISO:
        return "ISO image";
    default:
        return api_kinds[kind].name;
    }
}
