/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists: filter, sort, page, fields. The pages are put together from the objects' stored text.
 *
 * A page that is filtered is looked for in the table first, as far as one may look in one go: most are found there. One
 * that is not, and every sorted one, is of an order (order.c), for which the request may have to wait.
 */
#include "core/core_int.h"

#include <errno.h>

#define LIMIT_DEFAULT 100
#define PAGE_BEGIN    "{\"items\":["

/* ---- fields ---- */

/* Where a value ends that begins here. Of text that we have written ourselves: it is well-formed, without blanks. */
static const char *value_end(const char *at, const char *end) {
    int depth = 0;
    bool in_string = false;
    for (; at < end; at++) {
        if (in_string) {
            at += *at == '\\';
            in_string = *at != '"';
        } else if (*at == '"') {
            in_string = true;
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if (*at == '}' || *at == ']') {
            if (depth-- == 0)
                return at;
        } else if (*at == ',' && depth == 0) {
            return at;
        }
    }
    return end;
}

/* Whether a list has the name in it; ret_n: how many there are. */
static bool is_named(const char *fields, const char *name, size_t len, size_t *ret_n) {
    bool found = false;
    for (*ret_n = 0; *fields; ++*ret_n) {
        size_t n = strcspn(fields, ",");
        found |= n == len && memcmp(fields, name, len) == 0;
        fields += n + (fields[n] == ',');
    }
    return found;
}

/* An object's members that are named, as they are written. */
static void select_fields(struct buf *b, const char *text, size_t len, const char *fields) {
    const char *at = text + 1, *end = text + len - 1;
    size_t n = 0, names = 1;
    buf_addc(b, '{');
    while (at < end && n < names) {
        const char *name_end = memchr(at + 1, '"', (size_t)(end - at - 1));
        if (!name_end)
            break;
        const char *next = value_end(name_end + 2, end);
        if (is_named(fields, at + 1, (size_t)(name_end - at - 1), &names)) {
            if (n++)
                buf_addc(b, ',');
            buf_add(b, at, (size_t)(next - at));
        }
        at = next + 1;
    }
    buf_addc(b, '}');
}

/* Each once: a list that names one ten thousand times would be as much work for each object of the page. */
static int fields_check(const struct api_schema *schema, const char *fields, struct error *e) {
    size_t n = 0;
    while (fields && *fields) {
        if (++n > schema->n_fields)
            return error_set_field(e, ERR_INVALID, "fields", "names more fields than %s has", schema->name);
        size_t len = strcspn(fields, ",");
        const struct api_field *f = field_find(schema, fields, len);
        if (!f || f->flags & (API_F_WRITE_ONLY | API_F_INPUT)) {
            field_missing(schema, fields, len, e);
            error_prefix_field(e, "fields");
            return -EINVAL;
        }
        fields += len + (fields[len] == ',');
    }
    return 0;
}

static void add_object(struct buf *b, const char *text, size_t len, const char *fields) {
    if (str_empty(fields))
        buf_add(b, text, len);
    else
        select_fields(b, text, len, fields);
}

static void add_version(struct buf *b, const struct object *o, const char *fields) {
    if (str_empty(fields)) {
        version_write(o->kind, o->v, b);
        return;
    }
    _cleanup_buf_ struct buf text = {0};
    version_write(o->kind, o->v, &text);
    select_fields(b, text.data, text.len, fields);
}

void core_reply_object(struct core *c, uint64_t request, int status, const struct object *o, const char *fields) {
    struct buf b = {0};
    add_version(&b, o, fields);
    core_reply(c, request, status, buf_take(&b), o->revision, o->dirty);
}

/* ---- pages ---- */

struct page {
    struct core *c;
    const struct core_request *r;
    enum api_kind kind;
    struct filter filter;
    struct object *const *list; /* of which it is a page, in the table's own order */
    size_t n_list;
    bool narrow;   /* it is not the whole table */
    bool filtered; /* what is in it passes the filter */
    size_t looks;  /* how many objects may be looked at still */
    bool (*visible)(void *ctx, const void *data);
    void *ctx;
    int64_t limit;
    struct buf out;
    size_t n;   /* objects in out */
    char *next; /* cursor, once the page is full */
};

static bool page_wants(const struct page *p, const struct object *o) {
    return (!p->visible || p->visible(p->ctx, o->v->data)) && (p->filtered || filter_match(&p->filter, o->v->data));
}

static void page_add(struct page *p, const struct object *o) {
    if (!p->n++)
        buf_adds(&p->out, PAGE_BEGIN);
    else
        buf_addc(&p->out, ',');
    add_version(&p->out, o, p->r->query.fields);
}

static const char *key_of(const struct object *o) { return own_key(o->kind, o->id, o->v); }

/* The first of the list that is not below the key. */
static size_t page_begin(const struct page *p, const char *key) {
    size_t lo = 0, hi = p->n_list;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(key_of(p->list[mid]), key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* In the table's own order; the cursor is the last object's key. False: there is more to look at than may be now. */
static bool page_in_order(struct page *p, bool descending) {
    const char *after = p->r->query.after;
    const struct object *last = NULL; /* the last one shown */
    size_t at = after ? page_begin(p, after) : descending ? p->n_list : 0;
    if (descending)
        at = p->n_list - at;
    else if (after && at < p->n_list && str_eq(key_of(p->list[at]), after))
        at++;
    for (; at < p->n_list; at++) {
        if (!p->looks--)
            return false;
        if (!descending && !p->filtered)
            order_look_ahead(p->list, at, p->n_list);
        const struct object *o = p->list[descending ? p->n_list - 1 - at : at];
        if (!page_wants(p, o))
            continue;
        if ((int64_t)p->n == p->limit) {
            p->next = xstrdup(key_of(last));
            return true;
        }
        page_add(p, o);
        last = o;
    }
    return true;
}

/* By any field. */
static void page_sorted(struct page *p, const struct path *path, bool descending) {
    const char *after = p->r->query.after;
    _cleanup_free_ char *id = NULL;
    const struct object *last = NULL;
    size_t at = 0;
    if (after) {
        struct row cursor = order_cursor(path, after, &id);
        size_t found = order_find(path, p->list, p->n_list, &cursor);
        at = descending ? p->n_list - found : found + (found < p->n_list && str_eq(p->list[found]->id, id));
    }
    for (; at < p->n_list; at++) {
        const struct object *o = p->list[descending ? p->n_list - 1 - at : at];
        if (!page_wants(p, o))
            continue;
        if ((int64_t)p->n == p->limit) {
            p->next = order_cursor_of(path, last);
            return;
        }
        page_add(p, o);
        last = o;
    }
}

/* Those of one server are listed with it: nobody else is looked at. To be freed. */
static struct object **page_list(struct page *p) {
    for (size_t i = 0; p->kind == API_KIND_VM && i < p->filter.n; i++) {
        const struct term *t = &p->filter.terms[i];
        if (t->op == TERM_EQUAL && t->path.n == 1 && str_eq(t->path.fields[0]->name, "server") && *t->value) {
            struct object **vms = server_vms(p->c, t->id ? t->id : t->value, &p->n_list);
            p->list = vms;
            p->narrow = true;
            return vms;
        }
    }
    p->list = p->c->tables[p->kind].sorted;
    p->n_list = p->c->tables[p->kind].n;
    return NULL;
}

/* The page is to be one of an order. False: of one that is not made yet. */
static bool page_of_order(struct page *p, const struct path *path, bool make) {
    struct core *c = p->c;
    static const struct filter everything;
    /* What somebody may see is nobody else's order. */
    const struct filter *f = p->visible ? &everything : &p->filter;
    const struct order *o = order_of(c, &c->tables[p->kind], path, f);
    if (!o && make && (c->resumed || list_empty(&c->parked))) /* else it is not its turn */
        o = order_go_on(c, p->kind, path, f);
    if (!o)
        return false;
    p->list = o->list;
    p->n_list = o->n;
    p->filtered = !p->visible;
    return true;
}

/* False: it has to wait. */
static bool page_find(struct page *p, const struct path *path, bool descending) {
    static const struct path own;
    _cleanup_free_ struct object **of_server = page_list(p);
    (void)of_server; /* what the page looks through, for some questions; only its freeing is ours */
    p->looks = SIZE_MAX;
    if (path->n) {
        _cleanup_free_ struct object **sorted = p->narrow ? order_make(path, p->list, p->n_list) : NULL;
        if (sorted)
            p->list = sorted;
        else if (!page_of_order(p, path, true))
            return false;
        page_sorted(p, path, descending);
        return true;
    }
    bool may_wait = p->filter.n && !p->visible && !p->narrow && p->n_list > core_slice(p->c);
    if (!may_wait || page_of_order(p, &own, false))
        return page_in_order(p, descending);
    p->looks = core_slice(p->c);
    if (!p->c->resumed && page_in_order(p, descending))
        return true;
    buf_done(&p->out);
    p->n = 0;
    p->looks = SIZE_MAX;
    return page_of_order(p, &own, true) && page_in_order(p, descending);
}

static void page_reply(struct page *p) {
    struct core *c = p->c;
    struct buf b = p->out;
    p->out = (struct buf){0};
    buf_adds(&b, p->n ? "]" : PAGE_BEGIN "]");
    if (p->next) {
        _cleanup_json_ json_t *next = json_string(p->next);
        _cleanup_free_ char *s = json_text(next);
        buf_addf(&b, ",\"next\":%s", s);
    }
    if (!p->filter.n && !p->visible)
        buf_addf(&b, ",\"total\":%zu", c->tables[p->kind].n);
    buf_addf(&b, ",\"revision\":%lld}", (long long)c->revision);
    core_reply(c, p->r->id, 200, buf_take(&b), 0, c->tables[p->kind].dirty);
}

/* Older ones are in the store only: the shell goes on there. */
static void page_history(struct page *p) {
    struct core_effect *e = effect_new(CORE_HISTORY);
    struct table *t = &p->c->tables[p->kind];
    const char *after = p->r->query.after, *oldest = t->n ? t->sorted[0]->id : NULL;
    e->request = p->r->id;
    e->object_kind = api_kinds[p->kind].name;
    e->filter = xstrdup(p->r->query.filter);
    e->fields = xstrdup(p->r->query.fields);
    e->limit = p->limit;
    if (after && (!oldest || strcmp(after, oldest) < 0))
        e->before = xstrdup(after);
    else
        e->before = xstrdup(oldest);
    e->n_items = (int64_t)p->n;
    e->items = xstrdup(p->n ? p->out.data + strlen(PAGE_BEGIN) : "");
    list_append(&p->c->txn->effects, &e->link);
}

int core_list(struct core *c, const struct core_request *r, enum api_kind kind,
              bool (*visible)(void *ctx, const void *data), void *ctx, struct error *e) {
    const struct api_schema *schema = api_kinds[kind].schema;
    bool history = kind == API_KIND_JOB || kind == API_KIND_EVENT;
    const char *sort = r->query.sort;
    bool descending = sort ? *sort == '-' : history || kind == API_KIND_ALARM;
    struct path path = {0};
    struct page p = {.c = c, .r = r, .kind = kind, .visible = visible, .ctx = ctx};
    p.limit = r->query.limit ? r->query.limit : LIMIT_DEFAULT;
    if (p.limit < 1 || p.limit > 1000)
        return error_set_field(e, ERR_INVALID, "limit", "must be between 1 and 1000");
    if (sort) {
        sort += *sort == '-';
        if (path_parse(schema, sort, strlen(sort), &path, e) < 0) {
            error_prefix_field(e, "sort");
            return -EINVAL;
        }
    }
    bool own_order = !sort || str_eq(sort, history ? "id" : kind_named(kind) ? "name" : "id");
    if (own_order)
        path = (struct path){0};
    int result = fields_check(schema, r->query.fields, e);
    if (result == 0)
        result = filter_parse(schema, r->query.filter, &p.filter, e);
    if (result == 0) {
        filter_resolve(c, &p.filter);
        if (!page_find(&p, &path, descending))
            park(c, r);
        else if (history && own_order && descending && !p.next)
            page_history(&p);
        else
            page_reply(&p);
    }
    filter_done(&p.filter);
    buf_done(&p.out);
    free(p.next);
    return result;
}

void core_add_item(struct buf *out, bool first, const char *text, size_t len, const char *fields) {
    if (!first)
        buf_addc(out, ',');
    add_object(out, text, len, fields);
}
