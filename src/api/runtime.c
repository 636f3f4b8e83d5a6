/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing fills a zeroed object field by field and gives it away only when all is good; a half-filled one is freed by
 * the same api_object_done() as any other, which is why "absent" is always the all-zero value of a member. Nested
 * objects are embedded, arrays are one block each.
 */
#include "api/runtime.h"

#include "api/check.h"
#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>

struct parse {
    enum api_use use;
    bool merge; /* CREATE's rules, and what only a creation may carry is refused */
    struct error *e;
};

static int object_fill(const struct api_schema *schema, const json_t *j, const struct parse *p, void *object);

static inline void *member(const void *object, size_t offset) { return (char *)object + offset; }
static inline size_t *count_of(const struct api_field *f, const void *object) {
    return member(object, f->count_offset);
}
static inline bool *has_of(const struct api_field *f, const void *object) { return member(object, f->count_offset); }

size_t api_element_size(const struct api_field *f) {
    switch ((enum api_type)f->type) {
    case API_TYPE_STRING:
        return sizeof(char *);
    case API_TYPE_INTEGER:
        return sizeof(int64_t);
    case API_TYPE_NUMBER:
        return sizeof(double);
    case API_TYPE_BOOLEAN:
        return sizeof(bool);
    case API_TYPE_ENUM:
        return sizeof(int);
    case API_TYPE_OBJECT:
        return f->schema->size;
    default:
        return sizeof(json_t *);
    }
}

/* ---- freeing and copying ---- */

static void value_done(const struct api_field *f, void *value) {
    if (f->type == API_TYPE_STRING)
        free(*(char **)value);
    else if (f->type == API_TYPE_JSON)
        json_decref(*(json_t **)value);
    else if (f->type == API_TYPE_OBJECT)
        api_object_done(f->schema, value);
}

static void field_done(const struct api_field *f, void *object) {
    void *value = member(object, f->offset);
    if (!(f->flags & API_F_ARRAY)) {
        value_done(f, value);
        return;
    }
    char *elements = *(char **)value;
    size_t size = api_element_size(f);
    for (size_t i = 0; i < *count_of(f, object); i++)
        value_done(f, elements + i * size);
    free(elements);
}

void api_object_done(const struct api_schema *schema, void *object) {
    if (!object)
        return;
    for (size_t i = 0; i < schema->n_fields; i++)
        field_done(&schema->fields[i], object);
    memset(object, 0, schema->size);
}

/* to holds a bitwise copy of the source already. */
static void value_own(const struct api_field *f, void *value) {
    if (f->type == API_TYPE_STRING) {
        *(char **)value = xstrdup(*(char **)value);
    } else if (f->type == API_TYPE_JSON) {
        json_t *j = *(json_t **)value;
        *(json_t **)value = j ? json_deep_copy(j) : NULL;
    } else if (f->type == API_TYPE_OBJECT) {
        for (size_t i = 0; i < f->schema->n_fields; i++) {
            const struct api_field *inner = &f->schema->fields[i];
            void *at = member(value, inner->offset);
            if (!(inner->flags & API_F_ARRAY)) {
                value_own(inner, at);
                continue;
            }
            size_t n = *count_of(inner, value), size = api_element_size(inner);
            char *elements = n ? xmemdup(*(char **)at, n * size) : NULL; /* an emptied array may still have its block */
            *(char **)at = elements;
            for (size_t k = 0; k < n; k++)
                value_own(inner, elements + k * size);
        }
    }
}

void api_object_copy(const struct api_schema *schema, void *to, const void *from) {
    memcpy(to, from, schema->size);
    value_own(&(struct api_field){.type = API_TYPE_OBJECT, .schema = schema}, to);
}

/* ---- defaults ---- */

static int array_fill(const struct api_field *f, const json_t *j, const struct parse *p, void *object);

static void field_default(const struct api_field *f, void *object) {
    void *value = member(object, f->offset);
    if (f->flags & API_F_ARRAY) {
        if (!f->text_default)
            return;
        _cleanup_json_ json_t *j = json_loads(f->text_default, JSON_DECODE_ANY, NULL);
        if (!j || array_fill(f, j, &(struct parse){.use = API_CREATE}, object) < 0)
            abort(); /* the generator has written it, and a test parses each */
        return;
    }
    switch ((enum api_type)f->type) {
    case API_TYPE_STRING:
        *(char **)value = xstrdup(f->text_default ? f->text_default : "");
        break;
    case API_TYPE_INTEGER:
        *(int64_t *)value = f->int_default;
        break;
    case API_TYPE_NUMBER:
        *(double *)value = f->flags & API_F_OPTIONAL ? __builtin_nan("") : (double)f->int_default;
        break;
    case API_TYPE_BOOLEAN:
        *(bool *)value = f->int_default != 0;
        break;
    case API_TYPE_ENUM:
        *(int *)value = (int)f->int_default;
        break;
    case API_TYPE_OBJECT:
        api_object_init(f->schema, value);
        break;
    case API_TYPE_JSON:
        break;
    }
}

void api_object_init(const struct api_schema *schema, void *object) {
    memset(object, 0, schema->size);
    for (size_t i = 0; i < schema->n_fields; i++)
        field_default(&schema->fields[i], object);
}

/* ---- parsing ---- */

static int string_fill(const struct api_field *f, int index, const json_t *j, const struct parse *p, char **value) {
    if (!json_is_string(j))
        return api_wrong_type(f, index, j, p->e);
    const char *s = json_string_value(j);
    if (p->use == API_CREATE) {
        int r = api_check_string(f, index, j, p->e);
        if (r < 0)
            return r;
    } else if (p->use == API_PEER && f->choices && *s && api_choice(f->choices, s) < 0) {
        return api_wrong_choice(f, index, s, p->e);
    }
    *value = xstrndup(s, json_string_length(j));
    return 0;
}

static int enum_fill(const struct api_field *f, int index, const json_t *j, const struct parse *p, int *value) {
    if (!json_is_string(j))
        return api_wrong_type(f, index, j, p->e);
    int choice = api_choice(f->choices, json_string_value(j));
    if (choice < 0)
        return api_wrong_choice(f, index, json_string_value(j), p->e);
    *value = choice;
    return 0;
}

static int object_value_fill(const struct api_field *f, int index, const json_t *j, const struct parse *p,
                             void *value) {
    if (!json_is_object(j))
        return api_wrong_type(f, index, j, p->e);
    int r = object_fill(f->schema, j, p, value);
    if (r < 0 && p->e) {
        char path[128];
        if (index < 0)
            snprintf(path, sizeof path, "%s", f->name);
        else
            snprintf(path, sizeof path, "%s[%d]", f->name, index);
        error_prefix_field(p->e, path);
    }
    return r;
}

/* One value into a zeroed member or element. */
static int value_fill(const struct api_field *f, int index, const json_t *j, const struct parse *p, void *value) {
    switch ((enum api_type)f->type) {
    case API_TYPE_STRING:
        return string_fill(f, index, j, p, value);
    case API_TYPE_INTEGER:
        if (!json_is_integer(j))
            return api_wrong_type(f, index, j, p->e);
        *(int64_t *)value = json_integer_value(j);
        return p->use == API_CREATE ? api_check_integer(f, index, json_integer_value(j), p->e) : 0;
    case API_TYPE_NUMBER:
        if (!json_is_number(j))
            return api_wrong_type(f, index, j, p->e);
        *(double *)value = json_number_value(j);
        return p->use == API_CREATE ? api_check_number(f, index, json_number_value(j), p->e) : 0;
    case API_TYPE_BOOLEAN:
        if (!json_is_boolean(j))
            return api_wrong_type(f, index, j, p->e);
        *(bool *)value = json_is_true(j);
        return 0;
    case API_TYPE_ENUM:
        return enum_fill(f, index, j, p, value);
    case API_TYPE_OBJECT:
        return object_value_fill(f, index, j, p, value);
    case API_TYPE_JSON:
        if (!json_is_object(j))
            return api_wrong_type(f, index, j, p->e);
        *(json_t **)value = json_deep_copy(j);
        return 0;
    }
    return -EINVAL;
}

static int array_fill(const struct api_field *f, const json_t *j, const struct parse *p, void *object) {
    if (!json_is_array(j))
        return api_wrong_type(f, -1, j, p->e);
    size_t n = json_array_size(j), size = api_element_size(f);
    if (p->use == API_CREATE && f->max_items && n > f->max_items)
        return api_field_error(f, -1, p->e, "must have at most %u items, not %zu", f->max_items, n);
    if (n == 0)
        return 0;
    char *elements = xcalloc(n, size);
    *(char **)member(object, f->offset) = elements;
    *count_of(f, object) = n;
    for (size_t i = 0; i < n; i++) {
        int r = value_fill(f, (int)i, json_array_get(j, i), p, elements + i * size);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Whether a client may send the field at all. */
static int field_allowed(const struct api_field *f, const struct parse *p) {
    if (f->flags & API_F_INTERNAL)
        return api_field_error(f, -1, p->e, "unknown field");
    if (f->flags & API_F_READ_ONLY)
        return api_field_error(f, -1, p->e, "is set by Tarn and cannot be sent; leave it out");
    if (p->merge && ((f->flags & API_F_IMMUTABLE) || ((f->flags & API_F_INPUT) && !(f->flags & API_F_CHANGEABLE))))
        return api_field_error(f, -1, p->e, "can be given only when it is created, and not changed");
    if (!p->merge && p->use == API_CREATE && (f->flags & API_F_CHANGE_ONLY))
        return api_field_error(f, -1, p->e, "goes with changes only, not with a creation");
    return 0;
}

static int field_fill(const struct api_field *f, const json_t *j, const struct parse *p, void *object) {
    if (f->flags & API_F_ARRAY)
        return array_fill(f, j, p, object);
    int r = value_fill(f, -1, j, p, member(object, f->offset));
    if (r == 0 && f->type == API_TYPE_OBJECT)
        *has_of(f, object) = true;
    if (r == 0 && (f->flags & API_F_GIVEN) && p->use == API_CREATE)
        *(bool *)member(object, f->given_offset) = true;
    return r;
}

static int refuse_unknown(const struct api_schema *schema, const json_t *j, struct error *e) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)j, key, value) {
        bool known = false;
        for (size_t i = 0; !known && i < schema->n_fields; i++)
            known = strcmp(schema->fields[i].name, key) == 0;
        if (!known)
            return api_unknown_field(schema, key, e);
    }
    return 0;
}

/*
 * What Tarn prints is in the order of the fields, so the next key is nearly always the next field and needs no look-up;
 * the iterator is only a guess, and any other order works too.
 */
static json_t *take_next(const json_t *j, const char *name, void **iter, size_t *seen) {
    json_t *value;
    if (*iter && strcmp(json_object_iter_key(*iter), name) == 0) {
        value = json_object_iter_value(*iter);
        *iter = json_object_iter_next((json_t *)j, *iter);
    } else {
        value = json_object_get(j, name);
    }
    *seen += value != NULL;
    return value;
}

static int object_fill(const struct api_schema *schema, const json_t *j, const struct parse *p, void *object) {
    void *iter = json_object_iter((json_t *)j);
    size_t seen = 0;
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct api_field *f = &schema->fields[i];
        const json_t *value = take_next(j, f->name, &iter, &seen);
        int r = 0;
        if (value && p->use == API_CREATE)
            r = field_allowed(f, p);
        else if (value && (f->flags & API_F_INPUT))
            value = NULL; /* no part of the object */
        if (r == 0 && value)
            r = field_fill(f, value, p, object);
        else if (r == 0 && p->use == API_CREATE && (f->flags & API_F_REQUIRED))
            r = api_field_error(f, -1, p->e, "is required");
        else if (r == 0)
            field_default(f, object);
        if (r < 0)
            return r;
    }
    if (p->use == API_CREATE && seen != json_object_size(j))
        return refuse_unknown(schema, j, p->e);
    return 0;
}

int api_object_parse(const struct api_schema *schema, const json_t *j, enum api_use use, void *ret, struct error *e) {
    if (!json_is_object(j))
        return error_set(e, ERR_INVALID, "a JSON object (%s) is expected", schema->name);
    void *object = xcalloc(1, schema->size);
    int r = object_fill(schema, j, &(struct parse){.use = use, .e = e}, object);
    if (r < 0)
        api_object_done(schema, object);
    else
        memcpy(ret, object, schema->size);
    free(object);
    return r;
}

/* ---- merging ---- */

static int object_merge(const struct api_schema *schema, const json_t *patch, const struct parse *p, void *object);

/* The member as if it had never been given. */
static void field_reset(const struct api_field *f, void *object) {
    field_done(f, object);
    memset(member(object, f->offset), 0, f->flags & API_F_ARRAY ? sizeof(void *) : api_element_size(f));
    if (f->flags & API_F_ARRAY)
        *count_of(f, object) = 0;
    else if (f->type == API_TYPE_OBJECT)
        *has_of(f, object) = false;
}

static int field_merge(const struct api_field *f, const json_t *value, const struct parse *p, void *object) {
    bool array = f->flags & API_F_ARRAY;
    if (json_is_null(value)) {
        if (f->flags & API_F_REQUIRED)
            return api_field_error(f, -1, p->e, "is required and cannot be removed");
        field_reset(f, object);
        field_default(f, object);
        return 0;
    }
    if (!array && f->type == API_TYPE_OBJECT && json_is_object(value)) {
        *has_of(f, object) = true;
        int r = object_merge(f->schema, value, p, member(object, f->offset));
        if (r < 0)
            error_prefix_field(p->e, f->name);
        return r;
    }
    if (!array && f->type == API_TYPE_JSON && json_is_object(value)) {
        json_t **at = member(object, f->offset), *merged = json_merge_patch(*at, value);
        json_decref(*at);
        *at = merged;
        return 0;
    }
    field_reset(f, object);
    return field_fill(f, value, p, object);
}

static int object_merge(const struct api_schema *schema, const json_t *patch, const struct parse *p, void *object) {
    int r = refuse_unknown(schema, patch, p->e);
    for (size_t i = 0; r == 0 && i < schema->n_fields; i++) {
        const json_t *value = json_object_get(patch, schema->fields[i].name);
        if (!value)
            continue;
        r = field_allowed(&schema->fields[i], p);
        if (r == 0)
            r = field_merge(&schema->fields[i], value, p, object);
    }
    return r;
}

int api_object_merge(const struct api_schema *schema, const void *old, const json_t *patch, void *ret,
                     struct error *e) {
    if (!json_is_object(patch))
        return error_set(e, ERR_INVALID, "a JSON object with the fields to change is expected");
    void *object = xmalloc(schema->size);
    api_object_copy(schema, object, old);
    int r = object_merge(schema, patch, &(struct parse){.use = API_CREATE, .merge = true, .e = e}, object);
    if (r < 0)
        api_object_done(schema, object);
    else
        memcpy(ret, object, schema->size);
    free(object);
    return r;
}

/* ---- printing ---- */

/* What came from a hypervisor or a file may hold anything; printed text is always UTF-8. */
static json_t *string_print(const char *s) {
    json_t *j = json_string(s ? s : "");
    if (j)
        return j;
    _cleanup_free_ char *clean = xstrdup(s);
    for (char *c = clean; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return json_string(clean);
}

static json_t *value_print(const struct api_field *f, const void *value, enum api_view view) {
    json_t *j;
    switch ((enum api_type)f->type) {
    case API_TYPE_STRING:
        return string_print(*(char *const *)value);
    case API_TYPE_INTEGER:
        return json_integer(*(const int64_t *)value);
    case API_TYPE_NUMBER:
        j = json_real(*(const double *)value);
        return j ? j : json_real(0); /* JSON has no infinity and no NaN */
    case API_TYPE_BOOLEAN:
        return json_boolean(*(const bool *)value);
    case API_TYPE_ENUM:
        return json_string_nocheck(
            f->choices->texts[(size_t) * (const int *)value < f->choices->n ? *(const int *)value : 0]);
    case API_TYPE_OBJECT:
        return api_object_print(f->schema, value, view);
    case API_TYPE_JSON:
        return json_deep_copy(*(json_t *const *)value);
    }
    return NULL;
}

bool api_field_present(const struct api_field *f, const void *object) {
    if (f->flags & API_F_ARRAY)
        return true;
    if (f->type == API_TYPE_OBJECT)
        return *has_of(f, object);
    if (f->flags & API_F_OPTIONAL)
        return !__builtin_isnan(*(const double *)member(object, f->offset));
    return f->type != API_TYPE_JSON || *(json_t *const *)member(object, f->offset);
}

static json_t *field_print(const struct api_field *f, const void *object, enum api_view view) {
    const void *value = member(object, f->offset);
    if (!api_field_present(f, object))
        return NULL;
    if (!(f->flags & API_F_ARRAY))
        return value_print(f, value, view);
    json_t *list = json_array();
    const char *elements = *(char *const *)value;
    size_t n = *count_of(f, object), size = api_element_size(f);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, value_print(f, elements + i * size, view));
    return list;
}

json_t *api_object_print(const struct api_schema *schema, const void *object, enum api_view view) {
    unsigned hidden = API_F_INPUT | (view == API_PUBLIC ? API_F_WRITE_ONLY : 0);
    json_t *out = json_object();
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct api_field *f = &schema->fields[i];
        json_t *value = f->flags & hidden ? NULL : field_print(f, object, view);
        if (value)
            json_object_set_new_nocheck(out, f->name, value);
    }
    return out;
}

/* ---- references ---- */

static int object_refs(const struct api_schema *schema, void *object, const char *prefix, api_ref_visitor *visit,
                       void *ctx);

static int value_refs(const struct api_field *f, void *value, const char *path, api_ref_visitor *visit, void *ctx) {
    if (f->type == API_TYPE_OBJECT)
        return object_refs(f->schema, value, path, visit, ctx);
    char **text = value;
    return str_empty(*text) ? 0 : visit(ctx, f->ref, text, path);
}

static int object_refs(const struct api_schema *schema, void *object, const char *prefix, api_ref_visitor *visit,
                       void *ctx) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < schema->n_fields; i++) {
        const struct api_field *f = &schema->fields[i];
        if (!f->ref && f->type != API_TYPE_OBJECT)
            continue;
        char path[256];
        const char *dot = *prefix ? "." : "";
        void *value = member(object, f->offset);
        if (!(f->flags & API_F_ARRAY)) {
            snprintf(path, sizeof path, "%s%s%s", prefix, dot, f->name);
            r = value_refs(f, value, path, visit, ctx);
            continue;
        }
        for (size_t k = 0; r == 0 && k < *count_of(f, object); k++) {
            snprintf(path, sizeof path, "%s%s%s[%zu]", prefix, dot, f->name, k);
            r = value_refs(f, *(char **)value + k * api_element_size(f), path, visit, ctx);
        }
    }
    return r;
}

int api_object_each_ref(const struct api_schema *schema, void *object, api_ref_visitor *visit, void *ctx) {
    return object_refs(schema, object, "", visit, ctx);
}
