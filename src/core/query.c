/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists: filter, sort, page, fields. Values are read from the structs through the generated tables; the pages are put
 * together from the objects' stored text.
 */
#include "core/core_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#define LIMIT_DEFAULT 100
#define TERMS_MAX     16

enum term_op { TERM_EQUAL, TERM_DIFFERENT, TERM_CONTAINS, TERM_LESS, TERM_AT_MOST, TERM_GREATER, TERM_AT_LEAST };
struct term {
    struct path path;
    enum term_op op;
    char *value;
    double number;
    bool is_time; /* value is one: times are compared as such, whatever their digits */
    int64_t time;
};
struct filter {
    struct term terms[TERMS_MAX];
    size_t n;
};

static const struct api_field *field_find(const struct api_schema *s, const char *name, size_t len) {
    for (size_t i = 0; i < s->n_fields; i++)
        if (strncmp(s->fields[i].name, name, len) == 0 && !s->fields[i].name[len])
            return &s->fields[i];
    return NULL;
}

int path_parse(const struct api_schema *schema, const char *text, size_t len, struct path *p, struct error *e) {
    const struct api_schema *s = schema;
    *p = (struct path){0};
    for (size_t at = 0; at < len;) {
        size_t n = strcspn(text + at, ".");
        if (n > len - at)
            n = len - at;
        const struct api_field *f = s && p->n < PATH_DEPTH ? field_find(s, text + at, n) : NULL;
        if (!f || f->flags & (API_F_WRITE_ONLY | API_F_INPUT))
            return error_set(e, ERR_INVALID, "%s has no field \"%.*s\"", schema->name, (int)(len > 80 ? 80 : len),
                             text);
        p->fields[p->n] = f;
        p->index[p->n] = -1;
        at += n + 1;
        if (f->flags & API_F_ARRAY && at < len && isdigit((unsigned char)text[at])) {
            p->index[p->n] = strtol(text + at, NULL, 10);
            at += strcspn(text + at, ".") + 1;
        }
        s = f->type == API_TYPE_OBJECT ? f->schema : NULL;
        p->n++;
    }
    if (!p->n)
        return error_set(e, ERR_INVALID, "a field's name is missing");
    return 0;
}

static size_t element_size(const struct api_field *f) {
    switch (f->type) {
    case API_TYPE_OBJECT:
        return f->schema->size;
    case API_TYPE_ENUM:
        return sizeof(int);
    case API_TYPE_BOOLEAN:
        return sizeof(bool);
    default:
        return 8;
    }
}

/* As text in buf (or borrowed) and as a number for sorting. */
static struct scalar scalar_of(const struct api_field *f, const void *at, char buf[static 40]) {
    struct scalar v = {.text = ""};
    switch (f->type) {
    case API_TYPE_STRING:
        v.text = str_or(*(char *const *)at, "");
        break;
    case API_TYPE_INTEGER:
        snprintf(buf, 40, "%lld", (long long)*(const int64_t *)at);
        v = (struct scalar){buf, (double)*(const int64_t *)at, true};
        break;
    case API_TYPE_NUMBER:
        snprintf(buf, 40, "%.15g", *(const double *)at);
        v = (struct scalar){buf, *(const double *)at, true};
        break;
    case API_TYPE_BOOLEAN:
        v.text = *(const bool *)at ? "true" : "false";
        break;
    case API_TYPE_ENUM: {
        int i = *(const int *)at;
        if (f->choices && i >= 0 && (size_t)i < f->choices->n)
            v.text = f->choices->texts[i];
        break;
    }
    default:
        break;
    }
    return v;
}

bool path_visit(const struct path *p, size_t depth, const void *object,
                bool (*visit)(void *ctx, const struct scalar *v), void *ctx) {
    if (depth >= PATH_DEPTH)
        return false;
    const struct api_field *f = p->fields[depth];
    const char *at = (const char *)object + f->offset;
    size_t n = 1;
    if (f->flags & API_F_ARRAY) {
        n = *(const size_t *)((const char *)object + f->count_offset);
        at = *(char *const *)at;
    }
    for (size_t i = 0; i < n; i++) {
        if (p->index[depth] >= 0 && (int64_t)i != p->index[depth])
            continue;
        const char *element = at + i * element_size(f);
        if (depth + 1 < p->n && depth + 1 < PATH_DEPTH) {
            if (path_visit(p, depth + 1, element, visit, ctx))
                return true;
        } else {
            char buf[40];
            struct scalar v = scalar_of(f, element, buf);
            if (visit(ctx, &v))
                return true;
        }
    }
    return false;
}

static void filter_done(struct filter *f) {
    for (size_t i = 0; i < f->n; i++)
        free(f->terms[i].value);
}

/* The bytes of the operator, 0 if it is none. */
static size_t op_parse(const char *s, enum term_op *ret) {
    static const struct {
        const char *text;
        enum term_op op;
    } ops[] = {{"!=", TERM_DIFFERENT}, {"<=", TERM_AT_MOST}, {">=", TERM_AT_LEAST}, {"=", TERM_EQUAL},
               {"~", TERM_CONTAINS},   {"<", TERM_LESS},     {">", TERM_GREATER}};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (strncmp(s, ops[i].text, strlen(ops[i].text)) != 0)
            continue;
        *ret = ops[i].op;
        return strlen(ops[i].text);
    }
    return 0;
}

static int filter_parse(const struct api_schema *schema, const char *text, struct filter *f, struct error *e) {
    *f = (struct filter){0};
    while (text && *text) {
        size_t len = strcspn(text, ","), name = strcspn(text, "=!~<>");
        enum term_op op;
        size_t sign = name < len ? op_parse(text + name, &op) : 0;
        if (!sign)
            return error_set_field(e, ERR_INVALID, "filter",
                                   "\"%.*s\" is not of the form FIELD=VALUE, FIELD!=VALUE, FIELD~TEXT, FIELD<VALUE or "
                                   "FIELD>VALUE",
                                   (int)(len > 80 ? 80 : len), text);
        if (f->n == TERMS_MAX)
            return error_set_field(e, ERR_INVALID, "filter", "has more than %d terms", TERMS_MAX);
        struct term *t = &f->terms[f->n];
        if (path_parse(schema, text, name, &t->path, e) < 0) {
            error_prefix_field(e, "filter");
            return -EINVAL;
        }
        t->op = op;
        t->value = xstrndup(text + name + sign, len - name - sign);
        t->number = strtod(t->value, NULL);
        t->is_time = time_parse(t->value, &t->time) == 0;
        f->n++;
        text += len + (text[len] == ',');
    }
    return 0;
}

static int compare_values(const struct term *t, const struct scalar *v) {
    int64_t time;
    if (v->is_number)
        return v->number < t->number ? -1 : v->number > t->number;
    if (t->is_time && time_parse(v->text, &time) == 0)
        return time < t->time ? -1 : time > t->time;
    return strcmp(v->text, t->value);
}

static bool term_matches(void *ctx, const struct scalar *v) {
    const struct term *t = ctx;
    switch (t->op) {
    case TERM_CONTAINS:
        return strcasestr(v->text, t->value) != NULL;
    case TERM_LESS:
        return *v->text && compare_values(t, v) < 0;
    case TERM_AT_MOST:
        return *v->text && compare_values(t, v) <= 0;
    case TERM_GREATER:
        return *v->text && compare_values(t, v) > 0;
    case TERM_AT_LEAST:
        return *v->text && compare_values(t, v) >= 0;
    default:
        return strcmp(v->text, t->value) == 0;
    }
}

/* A reference may be given by the name of what it refers to. */
static bool term_matches_ref(const struct core *c, const struct term *t, const void *data) {
    const struct api_field *f = t->path.fields[t->path.n - 1];
    int kind = f->ref ? api_kind_from_text(f->ref) : -1;
    struct object *o = kind >= 0 && c ? core_find(c, (enum api_kind)kind, t->value) : NULL;
    if (!o || t->op >= TERM_LESS)
        return false;
    struct term by_id = *t;
    by_id.value = o->id;
    by_id.op = TERM_EQUAL;
    return path_visit(&t->path, 0, data, term_matches, &by_id);
}

static bool filter_match(const struct core *c, const struct filter *f, const void *data) {
    for (size_t i = 0; i < f->n; i++) {
        const struct term *t = &f->terms[i];
        bool found = path_visit(&t->path, 0, data, term_matches, (void *)t) || term_matches_ref(c, t, data);
        if (found == (t->op == TERM_DIFFERENT))
            return false;
    }
    return true;
}

/* ---- fields ---- */

json_t *core_select_fields(const char *fields, json_t *object) {
    if (str_empty(fields))
        return object;
    json_t *out = json_object();
    while (*fields) {
        size_t len = strcspn(fields, ",");
        _cleanup_free_ char *name = xstrndup(fields, len);
        json_t *v = json_object_get(object, name);
        if (v)
            json_object_set(out, name, v);
        fields += len + (fields[len] == ',');
    }
    json_decref(object);
    return out;
}

/* Each once: a list that names one ten thousand times would be as much work for each object of the page. */
static int fields_check(const struct api_schema *schema, const char *fields, struct error *e) {
    size_t n = 0;
    while (fields && *fields) {
        if (++n > schema->n_fields)
            return error_set_field(e, ERR_INVALID, "fields", "names more fields than %s has", schema->name);
        size_t len = strcspn(fields, ",");
        const struct api_field *f = field_find(schema, fields, len);
        if (!f || f->flags & (API_F_WRITE_ONLY | API_F_INPUT))
            return error_set_field(e, ERR_INVALID, "fields", "%s has no field \"%.*s\"", schema->name,
                                   (int)(len > 80 ? 80 : len), fields);
        fields += len + (fields[len] == ',');
    }
    return 0;
}

static void add_object(struct buf *b, const char *text, size_t len, const char *fields) {
    if (str_empty(fields)) {
        buf_add(b, text, len);
        return;
    }
    json_t *j = core_select_fields(fields, json_loadb(text, len, 0, NULL));
    _cleanup_free_ char *s = json_text(j);
    json_decref(j);
    buf_adds(b, s);
}

void core_reply_object(struct core *c, uint64_t request, int status, const struct object *o, const char *fields) {
    struct buf b = {0};
    add_object(&b, o->v->text, o->v->len, fields);
    core_reply(c, request, status, buf_take(&b), o->revision, o->dirty);
}

/* ---- pages ---- */

/* Strings are borrowed from the object: rows live only while a page is put together. */
struct row {
    const struct object *o;
    const char *text;
    double number;
    bool is_number;
};

static bool take_scalar(void *ctx, const struct scalar *v) {
    struct row *r = ctx;
    r->text = v->is_number ? "" : v->text;
    r->number = v->number;
    r->is_number = v->is_number;
    return true;
}

static int compare_rows(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    if (x->is_number && y->is_number && x->number != y->number)
        return x->number < y->number ? -1 : 1;
    int r = strcmp(str_or(x->text, ""), str_or(y->text, ""));
    return r ? r : strcmp(x->o->id, y->o->id);
}

/* The best `cap` rows seen so far, the worst of them on top: a page never needs all objects sorted. */
struct heap {
    struct row *rows;
    size_t n, cap;
    bool descending;
};

static int heap_order(const struct heap *h, const struct row *x, const struct row *y) {
    return h->descending ? compare_rows(y, x) : compare_rows(x, y);
}

static void heap_sift_down(struct heap *h) {
    for (size_t i = 0;;) {
        size_t worst = i, l = 2 * i + 1;
        for (size_t k = l; k < l + 2 && k < h->n; k++)
            if (heap_order(h, &h->rows[k], &h->rows[worst]) > 0)
                worst = k;
        if (worst == i)
            return;
        struct row t = h->rows[i];
        h->rows[i] = h->rows[worst];
        h->rows[worst] = t;
        i = worst;
    }
}

static void heap_add(struct heap *h, const struct row *r) {
    if (h->n == h->cap) {
        if (heap_order(h, r, &h->rows[0]) >= 0)
            return;
        h->rows[0] = *r;
        heap_sift_down(h);
        return;
    }
    size_t i = h->n++;
    h->rows[i] = *r;
    for (; i && heap_order(h, &h->rows[i], &h->rows[(i - 1) / 2]) > 0; i = (i - 1) / 2) {
        struct row t = h->rows[i];
        h->rows[i] = h->rows[(i - 1) / 2];
        h->rows[(i - 1) / 2] = t;
    }
}

struct page {
    struct core *c;
    const struct core_request *r;
    enum api_kind kind;
    struct filter filter;
    bool (*visible)(void *ctx, const void *data);
    void *ctx;
    int64_t limit;
    struct buf out;
    size_t n;   /* objects in out */
    char *next; /* cursor, once the page is full */
};

static bool page_wants(const struct page *p, const struct object *o) {
    return (!p->visible || p->visible(p->ctx, o->v->data)) && filter_match(p->c, &p->filter, o->v->data);
}

static void page_add(struct page *p, const struct object *o) {
    if (p->n++)
        buf_addc(&p->out, ',');
    add_object(&p->out, o->v->text, o->v->len, p->r->query.fields);
}

/* In the table's own order; the cursor is the last object's key. */
static void page_in_order(struct page *p, bool descending) {
    struct table *t = &p->c->tables[p->kind];
    const char *after = p->r->query.after;
    bool by_name = kind_named(p->kind);
    size_t at = 0;
    if (descending)
        at = t->n - (after ? table_lower_bound(t, p->kind, after) : t->n);
    else if (after) {
        at = table_lower_bound(t, p->kind, after);
        if (at < t->n && str_eq(by_name ? kind_name(p->kind, t->sorted[at]->v->data) : t->sorted[at]->id, after))
            at++;
    }
    for (; at < t->n; at++) {
        const struct object *o = t->sorted[descending ? t->n - 1 - at : at];
        if (!page_wants(p, o))
            continue;
        if ((int64_t)p->n == p->limit) {
            const struct object *last = NULL;
            /* The last one shown: step back over those that were filtered out. */
            for (size_t k = at; k-- > 0 && !last;) {
                const struct object *prev = t->sorted[descending ? t->n - 1 - k : k];
                if (page_wants(p, prev))
                    last = prev;
            }
            p->next = xstrdup(by_name ? kind_name(p->kind, last->v->data) : last->id);
            return;
        }
        page_add(p, o);
    }
}

/* By any field: "ID:VALUE" is the cursor. */
static void page_sorted(struct page *p, const struct path *path, bool descending) {
    struct table *t = &p->c->tables[p->kind];
    const char *after = p->r->query.after;
    size_t id_len = after ? strcspn(after, ":") : 0;
    _cleanup_free_ char *id = after ? xstrndup(after, id_len) : NULL;
    struct object ghost = {.id = id};
    struct row cursor = {.o = &ghost, .text = after && after[id_len] ? after + id_len + 1 : ""};
    cursor.number = strtod(cursor.text, NULL);
    struct heap h = {.cap = (size_t)p->limit + 1, .descending = descending};
    h.rows = xcalloc(h.cap, sizeof *h.rows);
    for (size_t i = 0; i < t->n; i++) {
        struct row row = {.o = t->sorted[i]};
        if (!page_wants(p, row.o))
            continue;
        path_visit(path, 0, row.o->v->data, take_scalar, &row);
        struct row edge = cursor;
        edge.is_number = row.is_number;
        if (row.is_number)
            edge.text = "";
        if (!after || heap_order(&h, &row, &edge) > 0)
            heap_add(&h, &row);
    }
    qsort(h.rows, h.n, sizeof *h.rows, compare_rows);
    for (size_t k = 0; k < h.n; k++) {
        const struct row *row = &h.rows[descending ? h.n - 1 - k : k];
        if ((int64_t)p->n == p->limit) {
            const struct row *last = &h.rows[descending ? h.n - k : k - 1];
            p->next = last->is_number ? xasprintf("%s:%.17g", last->o->id, last->number)
                                      : xasprintf("%s:%s", last->o->id, str_or(last->text, ""));
            break;
        }
        page_add(p, row->o);
    }
    free(h.rows);
}

static void page_reply(struct page *p) {
    struct core *c = p->c;
    struct buf b = {0};
    buf_reserve(&b, p->out.len + 128);
    buf_adds(&b, "{\"items\":[");
    if (p->out.len)
        buf_add(&b, p->out.data, p->out.len);
    buf_adds(&b, "]");
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
    buf_addc(&p->out, ']');
    e->items = xasprintf("[%s", p->out.data);
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
    int result = fields_check(schema, r->query.fields, e);
    if (result == 0)
        result = filter_parse(schema, r->query.filter, &p.filter, e);
    if (result == 0) {
        bool own_order = !sort || str_eq(sort, history ? "id" : kind_named(kind) ? "name" : "id");
        if (own_order)
            page_in_order(&p, descending);
        else
            page_sorted(&p, &path, descending);
        if (history && own_order && descending && !p.next)
            page_history(&p);
        else
            page_reply(&p);
    }
    filter_done(&p.filter);
    buf_done(&p.out);
    free(p.next);
    return result;
}

int core_filter_match(const char *filter, const json_t *object, struct error *e) {
    /* Only for kinds with history; which of the two it is shows in its fields. */
    enum api_kind kind = json_object_get(object, "steps") ? API_KIND_JOB : API_KIND_EVENT;
    struct filter f;
    int r = filter_parse(api_kinds[kind].schema, filter, &f, e);
    if (r == 0 && f.n) {
        void *data = xcalloc(1, api_kinds[kind].size);
        r = api_kinds[kind].parse(object, API_STORED, data, e);
        if (r == 0) {
            r = filter_match(NULL, &f, data);
            api_kinds[kind].done(data);
        }
        free(data);
    } else if (r == 0) {
        r = 1;
    }
    filter_done(&f);
    return r;
}
