/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/history.h"

#include "manager/http.h"
#include "store/store.h"

#define SCAN_MAX 20000 /* stored items looked at for one page of a filtered list */

/* A stored item as clients see it; NULL if it is not one (the core refuses such a store when it starts). */
static json_t *item_public(enum api_kind kind, const char *value, size_t len, int64_t revision) {
    _cleanup_json_ json_t *stored = NULL;
    _cleanup_free_ void *object = xmalloc(api_kinds[kind].size);
    if (json_parse(value, len, &stored, NULL) < 0 || api_kinds[kind].parse(stored, API_STORED, object, NULL) < 0)
        return NULL;
    int64_t *rev = api_kind_revision(kind, object);
    if (rev)
        *rev = revision;
    json_t *public = api_kinds[kind].print(object, API_PUBLIC);
    if (kind == API_KIND_JOB) /* one that is no longer in memory */
        json_object_set_new(public, "undoable", json_false());
    api_kinds[kind].done(object);
    return public;
}

/* ---- one object ---- */

static void answer_object(struct manager *m, struct exchange *x, const struct core_effect *e) {
    _cleanup_error_ struct error error = ERROR_INIT;
    _cleanup_free_ char *key = xasprintf("%s/%s", e->object_kind, e->object_id), *value = NULL;
    size_t len;
    int64_t revision;
    json_t *public = NULL;
    if (store_get(m->store, key, &value, &len, &revision, &error) == 0 && value)
    public = item_public((enum api_kind)api_kind_from_text(e->object_kind), value, len, revision);
    if (public)
        exchange_reply_json(x, 200, revision, core_select_fields(e->fields, public));
    else
        exchange_fail(x, ERR_NOT_FOUND, "there is no %s \"%s\"", e->object_kind, e->object_id);
}

/* ---- a page ---- */

struct page {
    const struct core_effect *e;
    enum api_kind kind;
    json_t *items;
    char *last; /* id of the last one that was looked at */
    int64_t scanned;
    bool more;
    struct error error;
};

static int page_add(void *ctx, const char *key, const char *value, size_t len, int64_t revision) {
    struct page *p = ctx;
    if (p->scanned++ >= SCAN_MAX) {
        p->more = true;
        return 1;
    }
    json_t *public = item_public(p->kind, value, len, revision);
    int match =
        public && !str_empty(p->e->filter) ? core_filter_match(p->e->filter, public, &p->error) : public != NULL;
    if (match > 0 && (int64_t)json_array_size(p->items) >= p->e->limit) {
        json_decref(public);
        p->more = true;
        return 1;
    }
    if (match > 0)
        json_array_append_new(p->items, core_select_fields(p->e->fields, public));
    else
        json_decref(public);
    str_set(&p->last, strchr(key, '/') + 1);
    return match < 0 ? match : 0;
}

static void answer_page(struct manager *m, struct exchange *x, const struct core_effect *e) {
    struct page p = {.e = e, .kind = (enum api_kind)api_kind_from_text(e->object_kind), .last = xstrdup(e->before)};
    if (!e->items || json_parse(e->items, strlen(e->items), &p.items, NULL) < 0)
        p.items = json_array();
    _cleanup_free_ char *prefix = xasprintf("%s/", e->object_kind);
    _cleanup_free_ char *before = e->before ? xasprintf("%s%s", prefix, e->before) : NULL;
    int r = store_load_before(m->store, prefix, before, SCAN_MAX + 1, page_add, &p, &p.error);
    if (r < 0 || p.error.code) {
        json_decref(p.items);
        exchange_reply_error(x, &p.error);
    } else {
        json_t *j = json_object();
        json_object_set_new(j, "items", p.items);
        if (p.more && p.last)
            json_set_str(j, "next", p.last);
        json_set_int(j, "revision", core_revision(m->core));
        exchange_reply_json(x, 200, 0, j);
    }
    free(p.last);
    error_done(&p.error);
}

void history_answer(struct manager *m, const struct core_effect *e) {
    struct exchange *x = exchange_find(m, e->request);
    if (!x)
        return;
    if (e->object_id)
        answer_object(m, x, e);
    else
        answer_page(m, x, e);
}

/* ---- what is too old ---- */

#define DAY_MS      (24 * 3600 * 1000LL)
#define OLD_LOOK    (10 * 60 * 1000) /* ms from one look to the next when there was nothing left */
#define OLD_AT_ONCE 50

struct old {
    char *keys[2 * OLD_AT_ONCE];
    size_t n;
};

static int old_add(void *ctx, const char *key, const char *value, size_t len, int64_t revision) {
    struct old *o = ctx;
    o->keys[o->n++] = xstrdup(key);
    return 0;
}

/* Ids begin with the time at which they were made: what is older lies below one of that time. */
void history_tick(struct manager *m) {
    static const char *const kinds[] = {"event/", "job/"};
    int64_t now = manager_now(m), limit = manager_wall() - m->options->history_days * DAY_MS;
    if (now < m->history_at || !m->options->history_days || limit <= 0)
        return;
    struct old old = {.n = 0};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        _cleanup_free_ char *before =
            xasprintf("%s%08llx-%04llx", kinds[i], (unsigned long long)limit >> 16, (unsigned long long)limit & 0xffff);
        store_load_before(m->store, kinds[i], before, OLD_AT_ONCE, old_add, &old, NULL);
    }
    /* A job that has not ended in all that time stays, and is met again each time. */
    m->history_at = now + (old.n >= OLD_AT_ONCE ? 0 : OLD_LOOK);
    if (old.n) {
        shell_time(m);
        core_forget(m->core, (const char *const *)old.keys, old.n);
        shell_pump(m);
    }
    for (size_t i = 0; i < old.n; i++)
        free(old.keys[i]);
}
