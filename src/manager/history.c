/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists that go on in the store. A filter that few pass has many stored items looked at, and nobody else is answered
 * meanwhile: so it is done piece by piece, between the other requests (work.h).
 */
#include "manager/history.h"

#include "manager/http.h"
#include "manager/work.h"
#include "store/store.h"

#define SCAN_MAX  20000 /* stored items looked at for one page of a filtered list */
#define PIECE     500
#define PIECE_NS  200000
#define LOOK_ROWS 16 /* from one look at the clock to the next */

/* A stored item; NULL if it is not one (the core refuses such a store when it starts). */
static void *item_parse(enum api_kind kind, const char *value, size_t len, int64_t revision) {
    json_t *stored = NULL;
    void *object = xmalloc(api_kinds[kind].size);
    json_scratch_begin();
    int r = json_parse(value, len, &stored, NULL);
    if (r == 0)
        r = api_kinds[kind].parse(stored, API_STORED, object, NULL);
    json_decref(stored);
    json_scratch_end();
    if (r < 0) {
        free(object);
        return NULL;
    }
    int64_t *rev = api_kind_revision(kind, object);
    if (rev)
        *rev = revision;
    if (kind == API_KIND_JOB) /* one that is no longer in memory */
        ((struct api_job *)object)->undoable = false;
    return object;
}

static void item_free(enum api_kind kind, void *object) {
    if (object)
        api_kinds[kind].done(object);
    free(object);
}

/* As clients see it. */
static void item_add(struct buf *out, bool first, enum api_kind kind, const void *object, const char *fields) {
    _cleanup_buf_ struct buf text = {0};
    api_kinds[kind].write(object, API_PUBLIC, &text);
    core_add_item(out, first, text.data, text.len, fields);
}

/* ---- one object ---- */

static void answer_object(struct manager *m, struct exchange *x, const struct core_effect *e) {
    _cleanup_error_ struct error error = ERROR_INIT;
    _cleanup_free_ char *key = xasprintf("%s/%s", e->object_kind, e->object_id), *value = NULL;
    enum api_kind kind = (enum api_kind)api_kind_from_text(e->object_kind);
    size_t len;
    int64_t revision;
    void *object = NULL;
    if (store_get(m->store, key, &value, &len, &revision, &error) == 0 && value)
        object = item_parse(kind, value, len, revision);
    if (object) {
        struct buf out = {0};
        item_add(&out, true, kind, object, e->fields);
        item_free(kind, object);
        exchange_reply(x, 200, revision, buf_take(&out));
    } else {
        exchange_fail(x, ERR_NOT_FOUND, "there is no %s \"%s\"", e->object_kind, e->object_id);
    }
}

/* ---- a page ---- */

struct scan {
    struct list link;
    struct manager *m;
    uint64_t request;
    enum api_kind kind;
    struct core_filter *filter;
    char *fields, *before; /* before: the key of the last one that was looked at */
    struct buf items;
    int64_t n, limit, scanned;
    bool more;      /* there are others behind those of this page */
    uint64_t until; /* this piece's end, ns */
    int64_t piece;  /* rows of this piece */
};

struct history {
    struct work work;
    struct list scans;
};

static void scan_free(struct scan *s) {
    list_remove(&s->link);
    core_filter_free(s->filter);
    free(s->fields);
    free(s->before);
    buf_done(&s->items);
    free(s);
}

/* 1: not another one now. */
static int scan_item(void *ctx, const char *key, const char *value, size_t len, int64_t revision) {
    struct scan *s = ctx;
    void *object = NULL;
    if (s->scanned >= SCAN_MAX) {
        s->more = true;
        return 1;
    }
    if (core_filter_may_match(s->filter, value, len))
        object = item_parse(s->kind, value, len, revision);
    if (object && core_filter_matches(s->filter, object)) {
        if (s->n >= s->limit)
            s->more = true;
        else
            item_add(&s->items, s->n++ == 0, s->kind, object, s->fields);
    }
    item_free(s->kind, object);
    if (s->more)
        return 1;
    s->scanned++;
    str_set(&s->before, key);
    return ++s->piece % LOOK_ROWS == 0 && uv_hrtime() >= s->until;
}

static void scan_reply(struct scan *s, struct exchange *x) {
    struct buf b = {0};
    buf_adds(&b, "{\"items\":[");
    if (s->items.len)
        buf_add(&b, s->items.data, s->items.len);
    buf_adds(&b, "]");
    if (s->more && s->before)
        buf_addf(&b, ",\"next\":\"%s\"", strchr(s->before, '/') + 1);
    buf_addf(&b, ",\"revision\":%lld}", (long long)core_revision(s->m->core));
    exchange_reply(x, 200, 0, buf_take(&b));
}

/* A piece of it. True when the request has been answered, and the scan is gone. */
static bool scan_go(struct scan *s, uint64_t until) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct exchange *x = exchange_find(s->m, s->request);
    if (!x) {
        scan_free(s);
        return true;
    }
    _cleanup_free_ char *prefix = xasprintf("%s/", api_kinds[s->kind].name);
    s->until = until;
    s->piece = 0;
    int r = x->conn ? store_load_before(s->m->store, prefix, s->before, PIECE, scan_item, s, &e) : 0;
    if (r < 0)
        exchange_reply_error(x, &e);
    else if (!x->conn) /* nobody waits for it any more */
        exchange_reply(x, 503, 0, NULL);
    else if (s->more || (r == 0 && s->piece < PIECE))
        scan_reply(s, x);
    else
        return false;
    scan_free(s);
    return true;
}

static bool go(struct manager *m, struct work *w) {
    struct scan *s = list_first(&m->history->scans, struct scan, link);
    if (s && !scan_go(s, uv_hrtime() + PIECE_NS)) { /* the next one's turn */
        list_remove(&s->link);
        list_append(&m->history->scans, &s->link);
    }
    return !list_empty(&m->history->scans);
}

static void answer_page(struct manager *m, struct exchange *x, struct core_effect *e) {
    _cleanup_error_ struct error error = ERROR_INIT;
    struct scan *s = xcalloc(1, sizeof *s);
    list_init(&s->link);
    s->m = m;
    s->request = e->request;
    s->kind = (enum api_kind)api_kind_from_text(e->object_kind);
    s->fields = TAKE_PTR(e->fields);
    s->before = e->before ? xasprintf("%s/%s", e->object_kind, e->before) : NULL;
    buf_adds(&s->items, str_or(e->items, ""));
    s->n = e->n_items;
    s->limit = e->limit;
    if (core_filter_new(s->kind, e->filter, &s->filter, &error) < 0) {
        exchange_reply_error(x, &error);
        scan_free(s);
    } else if (!scan_go(s, uv_hrtime() + PIECE_NS)) {
        list_append(&m->history->scans, &s->link);
        work_add(m, &m->history->work);
    }
}

void history_answer(struct manager *m, struct core_effect *e) {
    struct exchange *x = exchange_find(m, e->request);
    if (!x)
        return;
    if (e->object_id)
        answer_object(m, x, e);
    else
        answer_page(m, x, e);
}

void history_init(struct manager *m) {
    m->history = xcalloc(1, sizeof *m->history);
    m->history->work.what = "history";
    m->history->work.go = go;
    list_init(&m->history->scans);
}

void history_done(struct manager *m) {
    struct scan *s, *tmp;
    if (!m->history)
        return;
    list_for_each_safe(s, tmp, &m->history->scans, link) { scan_free(s); }
    work_remove(&m->history->work);
    free(m->history);
    m->history = NULL;
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
