/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include "base/mem.h"

/* jansson has a depth limit of its own (2048), too deep for the recursive walks that follow a parse. */
static bool too_deep(const char *s, size_t len) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        if (in_string) {
            if (s[i] == '\\')
                i++;
            else if (s[i] == '"')
                in_string = false;
        } else if (s[i] == '"') {
            in_string = true;
        } else if (s[i] == '{' || s[i] == '[') {
            if (++depth > JSON_MAX_DEPTH)
                return true;
        } else if (s[i] == '}' || s[i] == ']') {
            depth--;
        }
    }
    return false;
}

/* ---- scratch ---- */

#define SCRATCH_SIZE (256 * 1024) /* what does not fit goes the usual way */

static __thread struct {
    char *block;
    size_t used;
    size_t live;
    bool on;
} scratch;

static void *scratch_malloc(size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (!scratch.on || size > SCRATCH_SIZE - scratch.used)
        return malloc(size);
    void *p = scratch.block + scratch.used;
    scratch.used += size;
    scratch.live++;
    return p;
}

static void scratch_free(void *p) {
    if (scratch.block && (char *)p >= scratch.block && (char *)p < scratch.block + SCRATCH_SIZE)
        scratch.live--;
    else
        free(p);
}

void json_scratch_init(void) { json_set_alloc_funcs(scratch_malloc, scratch_free); }

void json_scratch_begin(void) {
    if (!scratch.block)
        scratch.block = xmalloc(SCRATCH_SIZE);
    scratch.used = scratch.live = 0;
    scratch.on = true;
}

void json_scratch_end(void) {
    if (scratch.live)
        abort(); /* somebody has kept what is about to be overwritten */
    scratch.on = false;
}

int json_parse(const char *text, size_t len, json_t **ret, struct error *e) {
    if (too_deep(text, len))
        return error_set(e, ERR_TOO_LARGE, "the JSON is nested deeper than %d levels", JSON_MAX_DEPTH);
    json_error_t je;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
    if (!j)
        return error_set(e, ERR_INVALID, "this is not valid JSON: %s (line %d, column %d)", je.text, je.line,
                         je.column);
    *ret = j;
    return 0;
}

char *json_text(const json_t *j) {
    char *s = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (!s)
        abort();
    return s;
}

const char *json_str(const json_t *object, const char *key) {
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

int64_t json_int(const json_t *object, const char *key, int64_t otherwise) {
    json_t *v = json_object_get(object, key);
    return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

double json_num(const json_t *object, const char *key, double otherwise) {
    json_t *v = json_object_get(object, key);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

bool json_bool(const json_t *object, const char *key, bool otherwise) {
    json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

void json_set_str(json_t *object, const char *key, const char *value) {
    json_object_set_new(object, key, json_string(value ? value : ""));
}

void json_set_int(json_t *object, const char *key, int64_t value) {
    json_object_set_new(object, key, json_integer(value));
}

json_t *json_merge_patch(const json_t *target, const json_t *patch) {
    if (!json_is_object(patch))
        return json_deep_copy(patch);
    json_t *out = json_is_object(target) ? json_deep_copy(target) : json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)patch, key, value) {
        if (json_is_null(value))
            json_object_del(out, key);
        else
            json_object_set_new(out, key, json_merge_patch(json_object_get(out, key), value));
    }
    return out;
}

/* ---- what strangers say ---- */

static bool is_control(unsigned char c) { return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f; }

static void tame_text(json_t *j) {
    const char *s = json_string_value(j);
    size_t len = json_string_length(j), keep = len;
    bool good = len <= JSON_TAME_TEXT;
    for (size_t i = 0; i < len && good; i++)
        good = !is_control((unsigned char)s[i]);
    if (good)
        return;
    if (keep > JSON_TAME_TEXT)
        for (keep = JSON_TAME_TEXT; keep && ((unsigned char)s[keep] & 0xc0) == 0x80; keep--)
            ;
    char *text = xstrndup(s, keep);
    for (char *p = text; *p; p++)
        if (is_control((unsigned char)*p))
            *p = '?';
    json_string_setn_nocheck(j, text, keep);
    free(text);
}

static void tame_number(json_t *j) {
    if (json_is_integer(j)) {
        json_int_t n = json_integer_value(j);
        if (n > JSON_TAME_NUMBER || n < -JSON_TAME_NUMBER)
            json_integer_set(j, n > 0 ? JSON_TAME_NUMBER : -JSON_TAME_NUMBER);
    } else {
        double n = json_real_value(j), most = (double)JSON_TAME_NUMBER;
        if (!(n <= most && n >= -most))
            json_real_set(j, n > 0 ? most : -most);
    }
}

void json_tame(json_t *j) {
    size_t i;
    const char *key;
    json_t *value;
    if (json_is_string(j))
        tame_text(j);
    else if (json_is_number(j))
        tame_number(j);
    else if (json_is_array(j))
        json_array_foreach(j, i, value) json_tame(value);
    else if (json_is_object(j))
        json_object_foreach(j, key, value) json_tame(value);
}
