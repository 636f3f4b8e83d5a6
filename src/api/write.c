/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects straight to text. Every change of an object is stored and told to whoever watches, so this is the busiest
 * code of the manager; it makes the same bytes as api_object_print() and json_text(), which random_test.c compares.
 */
#include "api/runtime.h"

#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* 0: as it is; 'u': \u00XX; else the letter after the backslash. jansson leaves DEL and everything above as it is. */
static const char escapes[256] = {[0 ... 7] = 'u', ['\b'] = 'b', ['\t'] = 't',          ['\n'] = 'n', [0x0b] = 'u',
                                  ['\f'] = 'f',    ['\r'] = 'r', [0x0e ... 0x1f] = 'u', ['"'] = '"',  ['\\'] = '\\'};

static void text_write(const char *s, struct buf *out) {
    bool foreign = false, looked = false; /* as in printing: what is no UTF-8 becomes '?' */
    buf_addc(out, '"');
    for (const char *run = s, *whole = s;; s++) {
        unsigned char c = (unsigned char)*s;
        char escape = escapes[c];
        if (c >= 0x80 && !looked) { /* hardly any text has one */
            looked = true;
            foreign = !utf8_valid(whole);
        }
        if (!escape && !(foreign && c >= 0x80))
            continue;
        buf_add(out, run, (size_t)(s - run));
        run = s + 1;
        if (!c)
            break;
        if (!escape)
            buf_addc(out, '?');
        else if (escape == 'u')
            buf_addf(out, "\\u%04X", c);
        else
            buf_add(out, (char[]){'\\', escape}, 2);
    }
    buf_addc(out, '"');
}

static void integer_write(int64_t value, struct buf *out) {
    char text[24], *at = text + sizeof text;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        *--at = '-';
    buf_add(out, at, (size_t)(text + sizeof text - at));
}

static void number_write(double value, struct buf *out) {
    _cleanup_json_ json_t *j = json_real(isfinite(value) ? value : 0);
    _cleanup_free_ char *text = json_text(j);
    buf_adds(out, text);
}

static void value_write(const struct api_field *f, const void *value, enum api_view view, struct buf *out) {
    _cleanup_free_ char *json = NULL;
    switch ((enum api_type)f->type) {
    case API_TYPE_STRING:
        text_write(*(char *const *)value ? *(char *const *)value : "", out);
        break;
    case API_TYPE_INTEGER:
        integer_write(*(const int64_t *)value, out);
        break;
    case API_TYPE_NUMBER:
        number_write(*(const double *)value, out);
        break;
    case API_TYPE_BOOLEAN:
        buf_adds(out, *(const bool *)value ? "true" : "false");
        break;
    case API_TYPE_ENUM:
        text_write(f->choices->texts[(size_t) * (const int *)value < f->choices->n ? *(const int *)value : 0], out);
        break;
    case API_TYPE_OBJECT:
        api_object_write(f->schema, value, view, out);
        break;
    case API_TYPE_JSON:
        json = json_text(*(json_t *const *)value);
        buf_adds(out, json);
        break;
    }
}

static void array_write(const struct api_field *f, const void *object, enum api_view view, struct buf *out) {
    const char *elements = *(char *const *)((const char *)object + f->offset);
    size_t n = *(const size_t *)((const char *)object + f->count_offset), size = api_element_size(f);
    buf_addc(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_addc(out, ',');
        value_write(f, elements + i * size, view, out);
    }
    buf_addc(out, ']');
}

void api_object_write(const struct api_schema *schema, const void *object, enum api_view view, struct buf *out) {
    unsigned hidden = API_F_INPUT | (view == API_PUBLIC ? API_F_WRITE_ONLY : 0);
    char separator = '{';
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct api_field *f = &schema->fields[i];
        if ((f->flags & hidden) || !api_field_present(f, object))
            continue;
        buf_addc(out, separator);
        separator = ',';
        buf_addc(out, '"');
        buf_adds(out, f->name);
        buf_add(out, "\":", 2);
        if (f->flags & API_F_ARRAY)
            array_write(f, object, view, out);
        else
            value_write(f, (const char *)object + f->offset, view, out);
    }
    if (separator == '{')
        buf_addc(out, '{');
    buf_addc(out, '}');
}
