/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON for the simulator, where reading and writing it took a quarter of the time: these take the place of jansson's
 * functions of the same names, and do the same for what our own programs write: objects, lists, whole numbers, texts
 * without \u. Whatever else there is goes to jansson itself.
 */
#include "base/json.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX  (1 << 20) /* more is jansson's */
#define DEPTH_MAX 32

/* ---- reading ---- */

struct reader {
    const char *at, *end;
    size_t flags;
    int depth;
};

static json_t *read_value(struct reader *r);

static void skip(struct reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n'))
        r->at++;
}

static bool take(struct reader *r, char c) {
    skip(r);
    if (r->at >= r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

/* The text between the quotes: where it stands, or in buf if something was escaped. false: not ours to read. */
static bool read_text(struct reader *r, char *buf, size_t size, const char **ret, size_t *ret_len) {
    static const char names[] = "\"\\/bfnrt", chars[] = "\"\\/\b\f\n\r\t";
    const char *start = r->at, *p = start;
    while (p < r->end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80)
        p++;
    if (p < r->end && *p == '"') {
        *ret = start;
        *ret_len = (size_t)(p - start);
        r->at = p + 1;
        return true;
    }
    size_t n = 0;
    for (p = start; p < r->end && *p != '"'; p++) {
        char c = *p;
        if ((unsigned char)c < 0x20 || (unsigned char)c >= 0x80 || n == size)
            return false;
        if (c == '\\') {
            const char *name = ++p < r->end && *p ? strchr(names, *p) : NULL;
            if (!name)
                return false;
            c = chars[name - names];
        }
        buf[n++] = c;
    }
    *ret = buf;
    *ret_len = n;
    r->at = p + 1;
    return p < r->end;
}

static json_t *read_string(struct reader *r) {
    char buf[4096];
    const char *text;
    size_t len;
    return read_text(r, buf, sizeof buf, &text, &len) ? json_stringn_nocheck(text, len) : NULL;
}

static json_t *read_object(struct reader *r) {
    _cleanup_json_ json_t *o = json_object();
    char buf[256];
    const char *key;
    size_t len;
    if (take(r, '}'))
        return json_incref(o);
    do {
        if (!take(r, '"') || !read_text(r, buf, sizeof buf, &key, &len) || memchr(key, 0, len) || !take(r, ':'))
            return NULL;
        if (r->flags & JSON_REJECT_DUPLICATES && json_object_getn(o, key, len))
            return NULL;
        char kept[256];
        if (len > sizeof kept)
            return NULL;
        memcpy(kept, key, len); /* the value may use the buffer of another text */
        json_t *value = read_value(r);
        if (!value || json_object_setn_new_nocheck(o, kept, len, value) < 0)
            return NULL;
    } while (take(r, ','));
    return take(r, '}') ? json_incref(o) : NULL;
}

static json_t *read_array(struct reader *r) {
    _cleanup_json_ json_t *a = json_array();
    if (take(r, ']'))
        return json_incref(a);
    do {
        json_t *value = read_value(r);
        if (!value || json_array_append_new(a, value) < 0)
            return NULL;
    } while (take(r, ','));
    return take(r, ']') ? json_incref(a) : NULL;
}

static json_t *read_number(struct reader *r) {
    bool negative = *r->at == '-';
    const char *start = r->at += negative;
    json_int_t n = 0;
    while (r->at < r->end && isdigit((unsigned char)*r->at) && r->at - start < 18)
        n = n * 10 + (*r->at++ - '0');
    size_t len = (size_t)(r->at - start);
    if (!len || (len > 1 && *start == '0') || r->at >= r->end || !strchr(",]} \n", *r->at))
        return NULL; /* a fraction, a larger one, or none */
    return json_integer(negative ? -n : n);
}

static json_t *read_word(struct reader *r, const char *word, json_t *value) {
    size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
        return NULL;
    r->at += n;
    return value;
}

static json_t *read_value(struct reader *r) {
    json_t *value = NULL;
    skip(r);
    if (r->at >= r->end || r->depth == DEPTH_MAX)
        return NULL;
    r->depth++;
    switch (*r->at) {
    case '{':
        r->at++;
        value = read_object(r);
        break;
    case '[':
        r->at++;
        value = read_array(r);
        break;
    case '"':
        r->at++;
        value = read_string(r);
        break;
    case 't':
        value = read_word(r, "true", json_true());
        break;
    case 'f':
        value = read_word(r, "false", json_false());
        break;
    case 'n':
        value = read_word(r, "null", json_null());
        break;
    default:
        value = read_number(r);
    }
    r->depth--;
    return value;
}

static void *jansson(const char *name) {
    void *f = dlsym(RTLD_NEXT, name);
    if (!f)
        abort();
    return f;
}

json_t *json_loadb(const char *text, size_t len, size_t flags, json_error_t *error) {
    static json_t *(*real)(const char *, size_t, size_t, json_error_t *);
    struct reader r = {.at = text, .end = text + len, .flags = flags};
    json_t *j =
        len && (*text == '{' || *text == '[') && !(flags & ~(size_t)JSON_REJECT_DUPLICATES) ? read_value(&r) : NULL;
    skip(&r);
    if (j && r.at == r.end)
        return j;
    json_decref(j);
    if (!real)
        real = (json_t * (*)(const char *, size_t, size_t, json_error_t *)) jansson("json_loadb");
    return real(text, len, flags, error);
}

json_t *json_loads(const char *text, size_t flags, json_error_t *error) {
    return text ? json_loadb(text, strlen(text), flags, error) : NULL;
}

/* ---- writing ---- */

struct writer {
    char *at, *end;
};

static bool write_bytes(struct writer *w, const char *bytes, size_t n) {
    if ((size_t)(w->end - w->at) < n)
        return false;
    memcpy(w->at, bytes, n);
    w->at += n;
    return true;
}

static bool write_text(struct writer *w, const char *s, size_t n) {
    if ((size_t)(w->end - w->at) < 6 * n + 2)
        return false;
    char *at = w->at;
    *at++ = '"';
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            *at++ = (char)c;
        } else if (c == '"' || c == '\\' || c == '\n' || c == '\t') {
            *at++ = '\\';
            *at++ = c == '\n' ? 'n' : c == '\t' ? 't' : (char)c;
        } else {
            return false;
        }
    }
    *at++ = '"';
    w->at = at;
    return true;
}

static bool write_value(struct writer *w, const json_t *j, int depth);

static bool write_object(struct writer *w, json_t *j, int depth) {
    bool good = write_bytes(w, "{", 1), first = true;
    for (void *i = json_object_iter(j); i && good; i = json_object_iter_next(j, i)) {
        good = (first || write_bytes(w, ",", 1)) &&
               write_text(w, json_object_iter_key(i), json_object_iter_key_len(i)) && write_bytes(w, ":", 1) &&
               write_value(w, json_object_iter_value(i), depth + 1);
        first = false;
    }
    return good && write_bytes(w, "}", 1);
}

static bool write_array(struct writer *w, const json_t *j, int depth) {
    size_t n = json_array_size(j);
    bool good = write_bytes(w, "[", 1);
    for (size_t i = 0; i < n && good; i++)
        good = (!i || write_bytes(w, ",", 1)) && write_value(w, json_array_get(j, i), depth + 1);
    return good && write_bytes(w, "]", 1);
}

static bool write_integer(struct writer *w, json_int_t value) {
    char text[24], *at = text + sizeof text;
    unsigned long long rest = value < 0 ? 0 - (unsigned long long)value : (unsigned long long)value;
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        *--at = '-';
    return write_bytes(w, at, (size_t)(text + sizeof text - at));
}

static bool write_value(struct writer *w, const json_t *j, int depth) {
    if (depth > DEPTH_MAX)
        return false;
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return write_object(w, (json_t *)j, depth);
    case JSON_ARRAY:
        return write_array(w, j, depth);
    case JSON_STRING:
        return write_text(w, json_string_value(j), json_string_length(j));
    case JSON_INTEGER:
        return write_integer(w, json_integer_value(j));
    case JSON_TRUE:
        return write_bytes(w, "true", 4);
    case JSON_FALSE:
        return write_bytes(w, "false", 5);
    case JSON_NULL:
        return write_bytes(w, "null", 4);
    default:
        return false;
    }
}

char *json_dumps(const json_t *j, size_t flags) {
    static char *(*real)(const json_t *, size_t);
    static char text[TEXT_MAX];
    struct writer w = {text, text + sizeof text};
    const size_t known = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(31);
    if (j && flags & JSON_COMPACT && !(flags & ~known) && write_value(&w, j, 0)) {
        size_t n = (size_t)(w.at - text);
        char *copy = malloc(n + 1);
        if (!copy)
            abort();
        memcpy(copy, text, n);
        copy[n] = 0;
        return copy;
    }
    if (!real)
        real = (char *(*)(const json_t *, size_t))jansson("json_dumps");
    return real(j, flags);
}
