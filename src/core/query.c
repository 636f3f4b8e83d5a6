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
    char *value, *low; /* low: in lower case, for TERM_CONTAINS */
    bool is_time;      /* value is one: times are compared as such, whatever their digits */
    int64_t time;
    bool is_integer; /* value is one, as it is printed */
    int64_t integer;
    double number;
    char *id; /* of what a reference names by its name; NULL */
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

const char *scalar_text(const struct scalar *v, char buf[static 40]) {
    if (!v->is_number)
        return v->text;
    if (v->is_integer)
        snprintf(buf, 40, "%lld", (long long)v->integer);
    else
        snprintf(buf, 40, "%.15g", v->number);
    return buf;
}

static struct scalar scalar_of(const struct api_field *f, const void *at) {
    struct scalar v = {.text = ""};
    switch (f->type) {
    case API_TYPE_STRING:
        v.text = str_or(*(char *const *)at, "");
        break;
    case API_TYPE_INTEGER:
        v.integer = *(const int64_t *)at;
        v.number = (double)v.integer;
        v.is_number = v.is_integer = true;
        break;
    case API_TYPE_NUMBER:
        v.number = *(const double *)at;
        v.is_number = true;
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
            struct scalar v = scalar_of(f, element);
            if (visit(ctx, &v))
                return true;
        }
    }
    return false;
}

static void filter_done(struct filter *f) {
    for (size_t i = 0; i < f->n; i++) {
        free(f->terms[i].value);
        free(f->terms[i].low);
        free(f->terms[i].id);
    }
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

static void term_prepare(struct term *t) {
    char *end, text[24];
    t->is_time = time_parse(t->value, &t->time) == 0;
    t->number = strtod(t->value, NULL);
    t->integer = strtoll(t->value, &end, 10);
    snprintf(text, sizeof text, "%lld", (long long)t->integer);
    t->is_integer = str_eq(text, t->value);
    t->low = xstrdup(t->value);
    for (char *p = t->low; *p; p++)
        *p = (char)tolower((unsigned char)*p);
}

/* What is no number must not be taken for 0, nor "100MiB" for 100. */
static int number_parse(struct term *t, struct error *e) {
    const struct api_field *field = t->path.fields[t->path.n - 1];
    char *end;
    if (t->op == TERM_CONTAINS || (field->type != API_TYPE_INTEGER && field->type != API_TYPE_NUMBER))
        return 0;
    t->number = strtod(t->value, &end);
    if (*t->value && !*end)
        return 0;
    if (size_parse(t->value, &t->integer) < 0)
        return error_set_field(e, ERR_INVALID, "filter",
                               "%s is compared with a number, such as 4 or 512MiB, not with \"%.80s\"", field->name,
                               t->value);
    t->number = (double)t->integer;
    t->is_integer = true;
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
        term_prepare(t);
        f->n++;
        if (number_parse(t, e) < 0)
            return -EINVAL;
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

/* Whether a text has another in it, which is in lower case. ASCII only; most texts are short. */
static bool contains(const char *s, const char *what) {
    size_t n = strlen(what);
    for (; n && *s; s++)
        if (tolower((unsigned char)*s) == (unsigned char)*what && strncasecmp(s, what, n) == 0)
            return true;
    return n == 0;
}

static bool equals(const struct term *t, const struct scalar *v) {
    char text[40];
    if (v->is_integer)
        return t->is_integer && v->integer == t->integer;
    return strcmp(scalar_text(v, text), t->value) == 0;
}

static bool term_matches(void *ctx, const struct scalar *v) {
    const struct term *t = ctx;
    char text[40];
    bool is_there = v->is_number || *v->text;
    switch (t->op) {
    case TERM_CONTAINS:
        return contains(scalar_text(v, text), t->low) || (t->id && strcmp(v->text, t->id) == 0);
    case TERM_LESS:
        return is_there && compare_values(t, v) < 0;
    case TERM_AT_MOST:
        return is_there && compare_values(t, v) <= 0;
    case TERM_GREATER:
        return is_there && compare_values(t, v) > 0;
    case TERM_AT_LEAST:
        return is_there && compare_values(t, v) >= 0;
    default:
        return equals(t, v) || (t->id && strcmp(v->text, t->id) == 0);
    }
}

/* A reference may be given by the name of what it refers to. */
static void filter_resolve(const struct core *c, struct filter *f) {
    for (size_t i = 0; i < f->n; i++) {
        struct term *t = &f->terms[i];
        const struct api_field *field = t->path.fields[t->path.n - 1];
        int kind = field->ref ? api_kind_from_text(field->ref) : -1;
        const struct object *o = kind >= 0 && t->op < TERM_LESS ? core_find(c, (enum api_kind)kind, t->value) : NULL;
        if (o && !str_eq(o->id, t->value))
            t->id = xstrdup(o->id);
    }
}

static bool filter_match(const struct filter *f, const void *data) {
    for (size_t i = 0; i < f->n; i++) {
        const struct term *t = &f->terms[i];
        if (path_visit(&t->path, 0, data, term_matches, (void *)t) == (t->op == TERM_DIFFERENT))
            return false;
    }
    return true;
}

/* ---- fields ---- */

static json_t *select_fields(const char *fields, json_t *object /* stolen */) {
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
    json_t *j = select_fields(fields, json_loadb(text, len, 0, NULL));
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

struct page {
    struct core *c;
    const struct core_request *r;
    enum api_kind kind;
    struct filter filter;
    struct object *const *list; /* of which it is a page, in the table's own order */
    size_t n_list;
    bool narrow; /* it is not the whole table */
    bool (*visible)(void *ctx, const void *data);
    void *ctx;
    int64_t limit;
    struct buf out;
    size_t n;   /* objects in out */
    char *next; /* cursor, once the page is full */
};

static bool page_wants(const struct page *p, const struct object *o) {
    return (!p->visible || p->visible(p->ctx, o->v->data)) && filter_match(&p->filter, o->v->data);
}

static void page_add(struct page *p, const struct object *o) {
    if (p->n++)
        buf_addc(&p->out, ',');
    add_object(&p->out, o->v->text, o->v->len, p->r->query.fields);
}

static const char *own_key(enum api_kind kind, const struct object *o) {
    return kind_named(kind) ? kind_name(kind, o->v->data) : o->id;
}

/* The first of the list that is not below the key. */
static size_t page_begin(const struct page *p, const char *key) {
    size_t lo = 0, hi = p->n_list;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(own_key(p->kind, p->list[mid]), key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* In the table's own order; the cursor is the last object's key. */
static void page_in_order(struct page *p, bool descending) {
    const char *after = p->r->query.after;
    const struct object *last = NULL; /* the last one shown */
    size_t at = after ? page_begin(p, after) : descending ? p->n_list : 0;
    if (descending)
        at = p->n_list - at;
    else if (after && at < p->n_list && str_eq(own_key(p->kind, p->list[at]), after))
        at++;
    for (; at < p->n_list; at++) {
        const struct object *o = p->list[descending ? p->n_list - 1 - at : at];
        if (!page_wants(p, o))
            continue;
        if ((int64_t)p->n == p->limit) {
            p->next = xstrdup(own_key(p->kind, last));
            return;
        }
        page_add(p, o);
        last = o;
    }
}

/* By any field. */
static void page_sorted(struct page *p, const struct path *path, bool descending) {
    const char *after = p->r->query.after;
    _cleanup_free_ char *id = NULL;
    _cleanup_free_ struct object **own = p->narrow ? order_make(path, p->list, p->n_list) : NULL;
    struct object *const *list = own ? own : order_of(p->c, &p->c->tables[p->kind], path);
    const struct object *last = NULL;
    size_t at = 0;
    if (after) {
        struct row cursor = order_cursor(path, after, &id);
        size_t found = order_find(path, list, p->n_list, &cursor);
        at = descending ? p->n_list - found : found + (found < p->n_list && str_eq(list[found]->id, id));
    }
    for (; at < p->n_list; at++) {
        const struct object *o = list[descending ? p->n_list - 1 - at : at];
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
    e->n_items = (int64_t)p->n;
    e->items = p->n ? buf_take(&p->out) : xstrdup("");
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
        filter_resolve(c, &p.filter);
        _cleanup_free_ struct object **own = page_list(&p); /* p reads it */
        (void)own;
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

/* ---- what is in the store only ---- */

struct core_filter {
    struct filter f;
    char *needles[TERMS_MAX]; /* of a term: stands in the text of whatever passes; NULL: not known */
    char *names[TERMS_MAX];   /* its field, as it stands there */
};

/* A text without anything that JSON would write differently. */
static bool is_plain(const char *s) {
    for (const char *p = s; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(" ._:/-", *p))
            return false;
    return *s;
}

int core_filter_new(enum api_kind kind, const char *text, struct core_filter **ret, struct error *e) {
    struct core_filter *f = xcalloc(1, sizeof *f);
    int r = filter_parse(api_kinds[kind].schema, text, &f->f, e);
    if (r < 0) {
        core_filter_free(f);
        return r;
    }
    for (size_t i = 0; i < f->f.n; i++) {
        const struct term *t = &f->f.terms[i];
        const struct api_field *field = t->path.fields[t->path.n - 1];
        if (t->op != TERM_EQUAL || (field->type != API_TYPE_STRING && field->type != API_TYPE_ENUM) ||
            !is_plain(t->value))
            continue;
        f->needles[i] = xasprintf("\"%s\"", t->value);
        f->names[i] = xasprintf("\"%s\":", field->name);
    }
    *ret = f;
    return 0;
}

void core_filter_free(struct core_filter *f) {
    if (!f)
        return;
    filter_done(&f->f);
    for (size_t i = 0; i < TERMS_MAX; i++) {
        free(f->needles[i]);
        free(f->names[i]);
    }
    free(f);
}

bool core_filter_may_match(const struct core_filter *f, const char *stored, size_t len) {
    for (size_t i = 0; i < f->f.n; i++) /* a field that is not there at all has its default value */
        if (f->needles[i] && !memmem(stored, len, f->needles[i], strlen(f->needles[i])) &&
            memmem(stored, len, f->names[i], strlen(f->names[i])))
            return false;
    return true;
}

bool core_filter_matches(const struct core_filter *f, const void *data) { return filter_match(&f->f, data); }

void core_add_item(struct buf *out, bool first, const char *text, size_t len, const char *fields) {
    if (!first)
        buf_addc(out, ',');
    add_object(out, text, len, fields);
}
