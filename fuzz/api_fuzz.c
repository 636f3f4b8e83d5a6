/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as JSON, parsed as every type in every way, merged into every kind, printed and parsed again; and as a
 * path. */
#include "fuzz.h"

#include "api/api.h"
#include "base/json.h"
#include "base/mem.h"

static int see_ref(void *ctx, const char *kind, char **value, const char *field) {
    return !kind || !*value || !**value || !field;
}

/* What was accepted must print, and what it prints must be accepted and print the same. */
static void use_object(const struct api_schema *schema, void *object) {
    _cleanup_json_ json_t *first = api_object_print(schema, object, API_PRIVATE);
    _cleanup_free_ void *again = xcalloc(1, schema->size);
    if (api_object_each_ref(schema, object, see_ref, NULL) != 0 ||
        api_object_parse(schema, first, API_STORED, again, NULL) < 0)
        abort();
    _cleanup_json_ json_t *second = api_object_print(schema, again, API_PRIVATE);
    if (!json_equal(first, second))
        abort();
    _cleanup_free_ char *text = json_text(first);
    _cleanup_buf_ struct buf written = {0};
    api_object_write(schema, object, API_PRIVATE, &written);
    if (strcmp(text, written.data) != 0)
        abort();
    api_object_done(schema, again);
    json_decref(api_object_print(schema, object, API_PUBLIC));
}

static void parse(const struct api_schema *schema, const json_t *j) {
    _cleanup_free_ void *object = xcalloc(1, schema->size);
    for (enum api_use use = API_STORED; use <= API_PEER; use++) {
        _cleanup_error_ struct error e = ERROR_INIT;
        if (api_object_parse(schema, j, use, object, &e) == 0) {
            use_object(schema, object);
            api_object_done(schema, object);
        } else if (!e.message) {
            abort();
        }
    }
}

static void merge(const struct api_kind_info *kind, const json_t *patch) {
    _cleanup_free_ void *old = xcalloc(1, kind->size), *changed = xcalloc(1, kind->size);
    _cleanup_error_ struct error e = ERROR_INIT;
    kind->init(old);
    if (kind->merge(old, patch, changed, &e) == 0) {
        use_object(kind->schema, changed);
        kind->done(changed);
    }
    kind->done(old);
}

static void route(const uint8_t *data, size_t size) {
    _cleanup_free_ char *path = xstrndup((const char *)data, size);
    struct api_route r;
    const struct api_op *op = api_route("GET", path, &r);
    if (op && (op->id >= API_OP_COUNT || !r.allow))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_json_ json_t *j = NULL;
    route(data, size);
    if (json_parse((const char *)data, size, &j, NULL) < 0)
        return 0;
    for (size_t i = 0; i < API_SCHEMA_COUNT; i++)
        parse(api_schemas[i], j);
    for (size_t i = 0; i < API_KIND_COUNT; i++)
        merge(&api_kinds[i], j);
    /* What an agent says is made bearable once; then it is. */
    json_tame(j);
    _cleanup_json_ json_t *tame = json_deep_copy(j);
    json_tame(j);
    if (!json_equal(tame, j))
        abort();
    free(json_text(j));
    return 0;
}
