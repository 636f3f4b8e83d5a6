/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every object of the description, at random: the rows that the runtime reads are read here too, to make objects that
 * must be accepted and, breaking one rule at a time, objects that must be refused with the path of the broken field. A
 * new field is covered as soon as it is described. A failure prints its seed; SEED=n replays it.
 */
#include "api/api.h"
#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define ROUNDS 40

enum mode { STORED, CREATE, CHANGE };

static struct idgen generator;
static uint64_t seed;

static size_t pick(size_t n) { return (size_t)(idgen_next(&generator) % n); }
static bool coin(void) { return pick(2); }

static void start(uint64_t s) {
    seed = s;
    idgen_init(&generator, (uint64_t[4]){s, 2, 3, 4});
}

/* ---- making values ---- */

static json_t *random_text(const struct api_field *f) {
    static const char *const pieces[] = {"a", "Z", "7", "é", "新", "😀", " ", "\n", "\t", "\"", "\\", "<", "%", "{"};
    char text[600] = "";
    size_t max = f->max < 64 ? (size_t)f->max : pick(8) ? 64 : f->max < 512 ? (size_t)f->max : 512;
    size_t target = (size_t)f->min + (max > (size_t)f->min ? pick(max - (size_t)f->min + 1) : 0), len = 0;
    while (len < target) {
        const char *piece = pieces[pick(ARRAY_LEN(pieces))];
        if (len + strlen(piece) > target)
            piece = "x";
        memcpy(text + len, piece, strlen(piece) + 1);
        len += strlen(piece);
    }
    return json_string(text);
}

static json_t *random_string(const struct api_field *f) {
    static const char *const names[] = {"web", "db-1", "新名字", "a.b_c d", "Ärger"};
    static const char *const paths[] = {"/", "/srv/tarn", "/a b/ü", "/x..y"};
    char id[UUID_LEN + 1];
    if (f->choices)
        return json_string(f->choices->texts[pick(f->choices->n)]);
    uuid_make(&generator, 1795228200000, id);
    switch ((enum api_format)f->format) {
    case API_FORMAT_UUID:
        return json_string(id);
    case API_FORMAT_NAME:
        return json_string(names[pick(ARRAY_LEN(names))]);
    case API_FORMAT_LABEL:
        return json_string("Ärger (1).iso");
    case API_FORMAT_REF:
        return json_string(coin() ? id : names[pick(ARRAY_LEN(names))]);
    case API_FORMAT_PATH:
        return json_string(paths[pick(ARRAY_LEN(paths))]);
    case API_FORMAT_MAC:
        return json_string("52:54:00:ab:CD:09");
    case API_FORMAT_TIME:
        return json_string("2026-11-21T02:30:00Z");
    default:
        return random_text(f);
    }
}

static json_t *random_object(const struct api_schema *schema, enum mode mode);

static json_t *random_value(const struct api_field *f, enum mode mode) {
    int64_t low = f->min == INT64_MIN ? -5 : f->min, high = f->max == INT64_MAX ? low + 1000000 : f->max;
    switch ((enum api_type)f->type) {
    case API_TYPE_STRING:
        return random_string(f);
    case API_TYPE_INTEGER:
        return json_integer(pick(4) == 0 ? low : pick(4) == 0 ? high : low + (int64_t)pick((size_t)(high - low) + 1));
    case API_TYPE_NUMBER:
        return json_real((double)pick(1000000) / 64);
    case API_TYPE_BOOLEAN:
        return json_boolean(coin());
    case API_TYPE_ENUM:
        return json_string(f->choices->texts[pick(f->choices->n)]);
    case API_TYPE_OBJECT:
        return random_object(f->schema, mode);
    default:
        return json_pack("{s:[i,f,n,b],s:{}}", "list", 1, 0.5, 1, "object");
    }
}

static json_t *random_field(const struct api_field *f, enum mode mode) {
    if (!(f->flags & API_F_ARRAY))
        return random_value(f, mode);
    json_t *list = json_array();
    size_t n =
        f->max_items && pick(4) == 0 ? f->max_items : pick(f->max_items && f->max_items < 4 ? f->max_items + 1 : 4);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, random_value(f, mode));
    return list;
}

static bool allowed(const struct api_field *f, enum mode mode) {
    if (mode == STORED)
        return !(f->flags & API_F_INPUT);
    if (f->flags & (API_F_READ_ONLY | API_F_INTERNAL))
        return false;
    if (mode == CREATE)
        return !(f->flags & API_F_CHANGE_ONLY);
    return !((f->flags & API_F_IMMUTABLE) || ((f->flags & API_F_INPUT) && !(f->flags & API_F_CHANGEABLE)));
}

static bool is_kind(const struct api_schema *schema) {
    for (size_t k = 0; k < API_KIND_COUNT; k++)
        if (api_kinds[k].schema == schema)
            return true;
    return false;
}

/* Stored objects are whole, but for what may not exist; clients send what they like. */
static json_t *random_object(const struct api_schema *schema, enum mode mode) {
    json_t *out = json_object();
    bool whole = mode == CREATE || !is_kind(schema); /* a change takes lists anew, element for element */
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct api_field *f = &schema->fields[i];
        bool maybe = f->type == API_TYPE_OBJECT || f->type == API_TYPE_JSON || (f->flags & API_F_OPTIONAL);
        bool needed = mode == STORED ? !maybe || (f->flags & API_F_ARRAY) : whole && (f->flags & API_F_REQUIRED);
        if (allowed(f, mode) && (needed || coin()))
            json_object_set_new(out, f->name, random_field(f, mode));
    }
    return out;
}

/* ---- what must hold ---- */

static void explain(const struct api_schema *schema, const char *what, const json_t *a, const struct error *e) {
    _cleanup_free_ char *text = a ? json_text(a) : NULL;
    fail_msg("%s %s, SEED=%llu: %s: %s\n%s", schema->name, what, (unsigned long long)seed,
             e && e->field ? e->field : "", e && e->message ? e->message : "", text ? text : "");
}

static void *parse(const struct api_schema *schema, const json_t *j, enum api_use use) {
    _cleanup_error_ struct error e = ERROR_INIT;
    void *object = xcalloc(1, schema->size);
    if (api_object_parse(schema, j, use, object, &e) < 0)
        explain(schema, "is refused", j, &e);
    return object;
}

static void release(const struct api_schema *schema, void *object) {
    api_object_done(schema, object);
    free(object);
}

/* All that is in part is in whole, but for inputs; empty text may stand for absent. */
static bool contains(const struct api_schema *schema, const json_t *whole, const json_t *part) {
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct api_field *f = &schema->fields[i];
        const json_t *p = json_object_get(part, f->name), *w = json_object_get(whole, f->name);
        if (!p || (f->flags & API_F_INPUT))
            continue;
        if (f->type != API_TYPE_OBJECT) {
            if (!w || !json_equal(p, w))
                return false;
        } else if (!(f->flags & API_F_ARRAY)) {
            if (!w || !contains(f->schema, w, p))
                return false;
        } else {
            if (json_array_size(p) != json_array_size(w))
                return false;
            for (size_t k = 0; k < json_array_size(p); k++)
                if (!contains(f->schema, json_array_get(w, k), json_array_get(p, k)))
                    return false;
        }
    }
    return true;
}

static void writes(const struct api_schema *schema, const void *object, enum api_view view, const json_t *printed) {
    _cleanup_free_ char *text = json_text(printed);
    _cleanup_buf_ struct buf out = {0};
    api_object_write(schema, object, view, &out);
    assert_string_equal(out.data, text);
    assert_int_equal(out.len, strlen(text));
}

static void round_trip(const struct api_schema *schema, enum api_use use) {
    _cleanup_json_ json_t *j = random_object(schema, STORED);
    void *first = parse(schema, j, use), *copy = xmalloc(schema->size);
    api_object_copy(schema, copy, first);
    _cleanup_json_ json_t *printed = api_object_print(schema, first, API_PRIVATE);
    release(schema, first);
    if (!json_equal(j, printed))
        explain(schema, "prints otherwise than it was parsed", printed, NULL);
    _cleanup_json_ json_t *copied = api_object_print(schema, copy, API_PRIVATE);
    if (!json_equal(j, copied))
        explain(schema, "is copied wrongly", copied, NULL);
    _cleanup_json_ json_t *public = api_object_print(schema, copy, API_PUBLIC);
    for (size_t i = 0; i < schema->n_fields; i++)
        if (schema->fields[i].flags & (API_F_WRITE_ONLY | API_F_INPUT))
            assert_null(json_object_get(public, schema->fields[i].name));
    writes(schema, copy, API_PRIVATE, j);
    writes(schema, copy, API_PUBLIC, public);
    release(schema, copy);
}

static void creation(const struct api_schema *schema) {
    _cleanup_json_ json_t *j = random_object(schema, CREATE);
    void *object = parse(schema, j, API_CREATE);
    _cleanup_json_ json_t *printed = api_object_print(schema, object, API_PRIVATE);
    release(schema, object);
    if (!contains(schema, printed, j))
        explain(schema, "loses something", j, NULL);
    /* What is stored of it is read back the same. */
    void *stored = parse(schema, printed, API_STORED);
    _cleanup_json_ json_t *again = api_object_print(schema, stored, API_PRIVATE);
    release(schema, stored);
    if (!json_equal(printed, again))
        explain(schema, "is stored otherwise", printed, NULL);
}

static void change(const struct api_kind_info *kind) {
    _cleanup_json_ json_t *before = random_object(kind->schema, STORED), *patch = random_object(kind->schema, CHANGE);
    void *old = parse(kind->schema, before, API_STORED), *new = xcalloc(1, kind->size);
    _cleanup_error_ struct error e = ERROR_INIT;
    if (kind->merge(old, patch, new, &e) < 0)
        explain(kind->schema, "refuses a change", patch, &e);
    _cleanup_json_ json_t *after = kind->print(new, API_PRIVATE), *untouched = kind->print(old, API_PRIVATE);
    assert_true(json_equal(before, untouched));
    if (!contains(kind->schema, after, patch))
        explain(kind->schema, "loses a change", patch, NULL);
    for (size_t i = 0; i < kind->schema->n_fields; i++) {
        const char *name = kind->schema->fields[i].name;
        if (!json_object_get(patch, name) && json_object_get(before, name))
            assert_true(json_equal(json_object_get(before, name), json_object_get(after, name)));
    }
    release(kind->schema, old);
    release(kind->schema, new);
}

/* ---- one rule broken ---- */

static void expect_refusal(const struct api_schema *schema, const json_t *j, const char *prefix, const char *suffix,
                           const struct api_field *f) {
    _cleanup_error_ struct error e = ERROR_INIT;
    _cleanup_free_ unsigned char *object = xmalloc(schema->size), *untouched = xmalloc(schema->size);
    _cleanup_free_ char *path = xasprintf("%s%s%s", prefix, f->name, suffix);
    memset(object, 0xa5, schema->size);
    memset(untouched, 0xa5, schema->size);
    if (api_object_parse(schema, j, API_CREATE, object, &e) == 0)
        explain(schema, path, j, NULL);
    if (!e.field || strcmp(e.field, path) != 0 || str_empty(e.message) || e.code != ERR_INVALID)
        explain(schema, path, j, &e);
    assert_memory_equal(object, untouched, schema->size);
}

/* At most n values for the field (or an element of it) that must be refused. */
static size_t bad_values(const struct api_field *f, json_t *out[static 12]) {
    size_t n = 0;
    out[n++] = f->type == API_TYPE_STRING || f->type == API_TYPE_ENUM ? json_integer(1) : json_string("1");
    out[n++] = json_null();
    if (f->type == API_TYPE_INTEGER) {
        out[n++] = json_real(1.5);
        if (f->min != INT64_MIN)
            out[n++] = json_integer(f->min - 1);
        if (f->max != INT64_MAX)
            out[n++] = json_integer(f->max + 1);
    }
    if (f->type == API_TYPE_ENUM || f->choices)
        out[n++] = json_string("no-such-choice");
    if (f->type != API_TYPE_STRING || f->choices)
        return n;
    if (f->max < 1 << 20) {
        _cleanup_free_ char *longer = xcalloc(1, (size_t)f->max + 2);
        memset(longer, f->format == API_FORMAT_PATH ? '/' : 'a', (size_t)f->max + 1);
        out[n++] = json_string(longer);
    }
    if (f->min > 1)
        out[n++] = json_string("a");
    if (f->format == API_FORMAT_LABEL)
        out[n++] = json_string("long\nenough");
    else if (f->format != API_FORMAT_TEXT)
        out[n++] = json_string("!");
    out[n++] = json_string("long enough \x1b[2J");
    out[n++] = json_string("/long\x7f"
                           "enough");
    return n;
}

/* Each rule of each field below target, which is a part of whole and of that schema, broken once. */
static void violations(const struct api_schema *root, json_t *whole, const struct api_schema *schema, json_t *target,
                       const char *prefix);

static void field_violations(const struct api_schema *root, json_t *whole, json_t *target, const char *prefix,
                             const struct api_field *f) {
    json_t *bad[12];
    bool array = f->flags & API_F_ARRAY;
    size_t n = bad_values(f, bad);
    for (size_t i = 0; i < n; i++) {
        json_object_set_new(target, f->name, array ? json_pack("[o]", bad[i]) : bad[i]);
        expect_refusal(root, whole, prefix, array ? "[0]" : "", f);
    }
    if (array) {
        json_object_set_new(target, f->name, json_object());
        expect_refusal(root, whole, prefix, "", f);
    }
    if (array && f->max_items) {
        json_t *list = json_array();
        for (size_t i = 0; i <= f->max_items; i++)
            json_array_append_new(list, random_value(f, CREATE));
        json_object_set_new(target, f->name, list);
        expect_refusal(root, whole, prefix, "", f);
    }
    if (f->type != API_TYPE_OBJECT)
        return;
    json_t *inner = random_object(f->schema, CREATE);
    json_object_set_new(target, f->name, array ? json_pack("[o]", inner) : inner);
    _cleanup_free_ char *deeper = xasprintf("%s%s%s.", prefix, f->name, array ? "[0]" : "");
    violations(root, whole, f->schema, inner, deeper);
}

static void violations(const struct api_schema *root, json_t *whole, const struct api_schema *schema, json_t *target,
                       const char *prefix) {
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct api_field *f = &schema->fields[i];
        _cleanup_json_ json_t *good = json_deep_copy(json_object_get(target, f->name));
        if (!allowed(f, CREATE)) {
            json_object_set_new(target, f->name, random_field(f, STORED));
            expect_refusal(root, whole, prefix, "", f);
        } else {
            field_violations(root, whole, target, prefix, f);
        }
        json_object_del(target, f->name);
        if (f->flags & API_F_REQUIRED)
            expect_refusal(root, whole, prefix, "", f);
        if (good)
            json_object_set(target, f->name, good);
    }
    json_object_set_new(target, "not_a_field", json_true());
    expect_refusal(root, whole, prefix, "", &(struct api_field){.name = "not_a_field"});
    json_object_del(target, "not_a_field");
}

static void changes_refused(const struct api_kind_info *kind) {
    _cleanup_json_ json_t *before = random_object(kind->schema, STORED);
    void *old = parse(kind->schema, before, API_STORED), *new = xcalloc(1, kind->size);
    for (size_t i = 0; i < kind->schema->n_fields; i++) {
        const struct api_field *f = &kind->schema->fields[i];
        _cleanup_error_ struct error e = ERROR_INIT;
        _cleanup_json_ json_t *patch = json_object();
        if (allowed(f, CHANGE))
            continue;
        json_object_set_new(patch, f->name, random_field(f, STORED));
        assert_int_equal(kind->merge(old, patch, new, &e), -EINVAL);
        assert_string_equal(e.field, f->name);
    }
    release(kind->schema, old);
    free(new);
}

/* ---- the tests ---- */

static void each(void (*test)(const struct api_schema *), size_t rounds) {
    const char *only = getenv("SEED");
    for (size_t i = 0; i < API_SCHEMA_COUNT; i++)
        for (size_t k = 1; k <= rounds; k++) {
            start(only ? strtoull(only, NULL, 10) : k * 1000 + i);
            test(api_schemas[i]);
        }
}

static void stored_trip(const struct api_schema *schema) { round_trip(schema, API_STORED); }
static void peer_trip(const struct api_schema *schema) { round_trip(schema, API_PEER); }
static void violated(const struct api_schema *schema) {
    _cleanup_json_ json_t *whole = random_object(schema, CREATE);
    violations(schema, whole, schema, whole, "");
}

static void test_stored(void **state) { each(stored_trip, ROUNDS); }
static void test_peer(void **state) { each(peer_trip, ROUNDS); }
static void test_creation(void **state) { each(creation, ROUNDS); }
static void test_violations(void **state) { each(violated, 3); }

static void test_changes(void **state) {
    for (size_t k = 0; k < API_KIND_COUNT; k++)
        for (uint64_t i = 1; i <= ROUNDS; i++) {
            start(i);
            change(&api_kinds[k]);
            changes_refused(&api_kinds[k]);
        }
}

static void test_defaults(void **state) {
    for (size_t i = 0; i < API_SCHEMA_COUNT; i++) {
        void *object = xmalloc(api_schemas[i]->size);
        api_object_init(api_schemas[i], object);
        _cleanup_json_ json_t *empty = json_object(), *printed = api_object_print(api_schemas[i], object, API_PRIVATE);
        void *parsed = parse(api_schemas[i], empty, API_STORED);
        _cleanup_json_ json_t *again = api_object_print(api_schemas[i], parsed, API_PRIVATE);
        assert_true(json_equal(printed, again));
        release(api_schemas[i], object);
        release(api_schemas[i], parsed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stored),     cmocka_unit_test(test_peer),    cmocka_unit_test(test_creation),
        cmocka_unit_test(test_violations), cmocka_unit_test(test_changes), cmocka_unit_test(test_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
