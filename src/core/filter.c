/* SPDX-License-Identifier: Apache-2.0 */
/* Fields by their paths, read from the structs through the generated tables; and filters, which compare them. */
#include "core/core_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#define TERMS_MAX 16

const struct api_field *field_find(const struct api_schema *s, const char *name, size_t len) {
    for (size_t i = 0; i < s->n_fields; i++)
        if (strncmp(s->fields[i].name, name, len) == 0 && !s->fields[i].name[len])
            return &s->fields[i];
    return NULL;
}

int field_missing(const struct api_schema *s, const char *name, size_t len, struct error *e) {
    _cleanup_buf_ struct buf all = {0};
    for (size_t i = 0; i < s->n_fields; i++)
        if (!(s->fields[i].flags & (API_F_WRITE_ONLY | API_F_INPUT | API_F_INTERNAL)))
            buf_addf(&all, "%s%s", all.len ? ", " : "", s->fields[i].name);
    return error_set(e, ERR_INVALID, "%s has no field \"%.*s\"; it has %s", s->name, (int)(len > 80 ? 80 : len), name,
                     all.data ? all.data : "none");
}

int path_parse(const struct api_schema *schema, const char *text, size_t len, struct path *p, struct error *e) {
    const struct api_schema *s = schema;
    *p = (struct path){0};
    for (size_t at = 0; at < len;) {
        size_t n = strcspn(text + at, ".");
        if (n > len - at)
            n = len - at;
        const struct api_field *f = s && p->n < PATH_DEPTH ? field_find(s, text + at, n) : NULL;
        if (!s || p->n == PATH_DEPTH)
            return error_set(e, ERR_INVALID, "\"%.*s\": %s is a value, which has no fields of its own",
                             (int)(len > 80 ? 80 : len), text, p->fields[p->n - 1]->name);
        if (!f || f->flags & (API_F_WRITE_ONLY | API_F_INPUT))
            return field_missing(s, text + at, n, e);
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

void filter_done(struct filter *f) {
    for (size_t i = 0; i < f->n; i++) {
        free(f->terms[i].value);
        free(f->terms[i].low);
        free(f->terms[i].id);
    }
    free(f->terms);
    *f = (struct filter){0};
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

/* A word that the field never has would find nothing, and say nothing. */
static int choice_parse(const struct term *t, struct error *e) {
    static const char *const yes_no[] = {"true", "false"};
    static const struct api_choices booleans = {2, yes_no};
    const struct api_field *field = t->path.fields[t->path.n - 1];
    const struct api_choices *all = field->type == API_TYPE_BOOLEAN ? &booleans : field->choices;
    if (!all || (t->op != TERM_EQUAL && t->op != TERM_DIFFERENT) || api_choice(all, t->value) >= 0 ||
        (!*t->value && field->type == API_TYPE_STRING))
        return 0;
    _cleanup_buf_ struct buf words = {0};
    for (size_t i = 0; i < all->n; i++)
        buf_addf(&words, "%s%s", i ? ", " : "", all->texts[i]);
    return error_set_field(e, ERR_INVALID, "filter", "%s is one of %s, not \"%.80s\"", field->name, words.data,
                           t->value);
}

int filter_parse(const struct api_schema *schema, const char *text, struct filter *f, struct error *e) {
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
        f->terms = xreallocarray(f->terms, f->n + 1, sizeof *f->terms);
        struct term *t = &f->terms[f->n];
        *t = (struct term){0};
        if (path_parse(schema, text, name, &t->path, e) < 0) {
            error_prefix_field(e, "filter");
            return -EINVAL;
        }
        t->op = op;
        t->value = xstrndup(text + name + sign, len - name - sign);
        term_prepare(t);
        f->n++;
        if (number_parse(t, e) < 0 || choice_parse(t, e) < 0)
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
        return strcasestr(scalar_text(v, text), t->low) || (t->id && strcmp(v->text, t->id) == 0);
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
void filter_resolve(const struct core *c, struct filter *f) {
    for (size_t i = 0; i < f->n; i++) {
        struct term *t = &f->terms[i];
        const struct api_field *field = t->path.fields[t->path.n - 1];
        int kind = field->ref ? api_kind_from_text(field->ref) : -1;
        const struct object *o = kind >= 0 && t->op < TERM_LESS ? core_find(c, (enum api_kind)kind, t->value) : NULL;
        if (o && !str_eq(o->id, t->value))
            t->id = xstrdup(o->id);
    }
}

bool filter_match(const struct filter *f, const void *data) {
    for (size_t i = 0; i < f->n; i++) {
        const struct term *t = &f->terms[i];
        if (path_visit(&t->path, 0, data, term_matches, (void *)t) == (t->op == TERM_DIFFERENT))
            return false;
    }
    return true;
}

void filter_copy(struct filter *ret, const struct filter *f) {
    *ret = (struct filter){.terms = xcalloc(f->n + 1, sizeof *f->terms), .n = f->n};
    for (size_t i = 0; i < f->n; i++) {
        ret->terms[i] = f->terms[i];
        ret->terms[i].value = xstrdup(f->terms[i].value);
        ret->terms[i].low = xstrdup(f->terms[i].low);
        ret->terms[i].id = xstrdup(f->terms[i].id);
    }
}

/* Whether they let the same objects pass: they were given and resolved alike. */
bool filter_same(const struct filter *a, const struct filter *b) {
    for (size_t i = 0; i < a->n && a->n == b->n; i++) {
        const struct term *x = &a->terms[i], *y = &b->terms[i];
        if (x->op != y->op || memcmp(&x->path, &y->path, sizeof x->path) != 0 || !str_eq(x->value, y->value) ||
            !str_eq(x->id, y->id))
            return false;
    }
    return a->n == b->n;
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
