/* SPDX-License-Identifier: Apache-2.0 */
#include "api/check.h"

#include "base/buf.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>

int api_field_error(const struct api_field *f, int index, struct error *e, const char *fmt, ...) {
    _cleanup_free_ char *message = NULL, *path = NULL;
    va_list ap;
    va_start(ap, fmt);
    message = xvasprintf(fmt, ap);
    va_end(ap);
    path = index < 0 ? xstrdup(f->name) : xasprintf("%s[%d]", f->name, index);
    return error_set_field(e, ERR_INVALID, path, "%s", message);
}

static const char *json_type_text(const json_t *j) {
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "text";
    case JSON_INTEGER:
        return "a number";
    case JSON_REAL:
        return "a fraction";
    case JSON_NULL:
        return "null";
    default:
        return "true or false";
    }
}

int api_wrong_type(const struct api_field *f, int index, const json_t *j, struct error *e) {
    static const char *const expected[] = {
        [API_TYPE_STRING] = "text",     [API_TYPE_INTEGER] = "a whole number",
        [API_TYPE_NUMBER] = "a number", [API_TYPE_BOOLEAN] = "true or false",
        [API_TYPE_ENUM] = "text",       [API_TYPE_OBJECT] = "an object",
        [API_TYPE_JSON] = "an object",
    };
    const char *want = index < 0 && (f->flags & API_F_ARRAY) ? "a list" : expected[f->type];
    return api_field_error(f, index, e, "must be %s, not %s", want, json_type_text(j));
}

int api_wrong_choice(const struct api_field *f, int index, const char *text, struct error *e) {
    _cleanup_buf_ struct buf list = {0};
    for (size_t i = 0; i < f->choices->n; i++)
        buf_addf(&list, "%s%s", i ? ", " : "", f->choices->texts[i]);
    bool showable = !api_string_problem(API_FORMAT_TEXT, 0, 64, text, strlen(text), 0, NULL);
    return api_field_error(f, index, e, "must be one of %s%s%s%s", list.data, showable ? ", not \"" : "",
                           showable ? text : "", showable ? "\"" : "");
}

int api_choice(const struct api_choices *choices, const char *text) {
    for (size_t i = 0; i < choices->n; i++)
        if (strcmp(choices->texts[i], text) == 0)
            return (int)i;
    return -1;
}

/* Sizes in the units in which people think; who forgot the unit is asked whether it was meant. */
static int wrong_size(const struct api_field *f, int index, int64_t value, struct error *e) {
    char low[SIZE_TEXT_MAX], high[SIZE_TEXT_MAX], given[SIZE_TEXT_MAX], hint[48] = "";
    size_format(f->min == INT64_MIN ? 0 : f->min, low);
    if (value > 0 && value < 1 << 20 && value << 20 >= f->min && value << 20 <= f->max)
        snprintf(hint, sizeof hint, "; did you mean %" PRId64 "MiB?", value);
    size_format(value, given);
    if (f->max == INT64_MAX)
        return api_field_error(f, index, e, "must be at least %s, not %s%s", low, given, hint);
    return api_field_error(f, index, e, "must be between %s and %s, not %s%s", low, size_format(f->max, high), given,
                           hint);
}

static int wrong_duration(const struct api_field *f, int index, int64_t value, struct error *e) {
    char low[SECONDS_TEXT_MAX], high[SECONDS_TEXT_MAX], given[SECONDS_TEXT_MAX];
    return api_field_error(f, index, e, "must be between %s and %s, not %s", seconds_format(f->min, low),
                           seconds_format(f->max, high), seconds_format(value, given));
}

int api_check_integer(const struct api_field *f, int index, int64_t value, struct error *e) {
    if (value >= f->min && value <= f->max)
        return 0;
    if (f->flags & API_F_BYTES)
        return wrong_size(f, index, value, e);
    if (f->min != INT64_MIN && f->max != INT64_MAX && f->flags & API_F_SECONDS)
        return wrong_duration(f, index, value, e);
    if (f->min != INT64_MIN && f->max != INT64_MAX)
        return api_field_error(f, index, e, "must be between %" PRId64 " and %" PRId64 ", not %" PRId64, f->min, f->max,
                               value);
    return api_field_error(f, index, e, "must be at %s %" PRId64 ", not %" PRId64, value < f->min ? "least" : "most",
                           value < f->min ? f->min : f->max, value);
}

int api_check_number(const struct api_field *f, int index, double value, struct error *e) {
    if ((f->min == INT64_MIN || value >= (double)f->min) && (f->max == INT64_MAX || value <= (double)f->max))
        return 0;
    return api_field_error(f, index, e, "must be at %s %" PRId64, value < (double)f->min ? "least" : "most",
                           value < (double)f->min ? f->min : f->max);
}

/* Control characters make terminals and logs lie; C1 ones (U+0080 to U+009F) are C2 80 to C2 9F in UTF-8. */
static const char *text_problem(const char *s) {
    if (!utf8_valid(s))
        return "must be valid UTF-8";
    for (const unsigned char *p = (const unsigned char *)s; *p; p++)
        if ((*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f || (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f))
            return "must not contain control characters other than newline and tab";
    return NULL;
}

static const char *format_problem(enum api_format format, const char *s, size_t len) {
    int64_t ms;
    switch (format) {
    case API_FORMAT_UUID:
        return uuid_valid(s) ? NULL : "is not an id (a UUID in lower case)";
    case API_FORMAT_NAME:
        return name_problem(s);
    case API_FORMAT_LABEL:
        return label_problem(s);
    case API_FORMAT_PATH:
        return path_problem(s);
    case API_FORMAT_MAC:
        return mac_problem(s);
    case API_FORMAT_TIME:
        return time_parse(s, &ms) == 0 ? NULL : "is not a time such as 2026-11-21T02:30:00Z";
    case API_FORMAT_REF:
        return uuid_valid(s) ? NULL : name_problem(s);
    default:
        return text_problem(s);
    }
}

const char *api_string_problem(enum api_format format, int64_t min, int64_t max, const char *s, size_t len,
                               size_t buf_len, char *buf) {
    if (strlen(s) != len)
        return "must not contain a NUL character";
    if ((int64_t)len < min || (int64_t)len > max) {
        bool below = (int64_t)len < min;
        snprintf(buf, buf_len, "must be at %s %" PRId64 " bytes long, not %zu", below ? "least" : "most",
                 below ? min : max, len);
        return buf_len ? buf : "is of the wrong length";
    }
    return format_problem(format, s, len);
}

int api_check_string(const struct api_field *f, int index, const json_t *j, struct error *e) {
    const char *s = json_string_value(j);
    size_t len = json_string_length(j);
    /* "" is how an absent text is shown, so a client may send it back; but not where the text is needed. */
    bool optional = index < 0 && !(f->flags & API_F_REQUIRED) && f->min <= 0;
    if (len == 0 && optional && (!f->choices || !f->text_default))
        return 0;
    char text[96];
    const char *problem = api_string_problem(f->format, f->min, f->max, s, len, sizeof text, text);
    if (problem)
        return api_field_error(f, index, e, "%s", problem);
    if (f->choices && api_choice(f->choices, s) < 0)
        return api_wrong_choice(f, index, s, e);
    return 0;
}

/* Levenshtein's distance, for names of up to 63 bytes. */
static size_t edit_distance(const char *a, const char *b) {
    size_t row[64], n = strlen(b);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            size_t add = row[j] + 1, del = row[j + 1] + 1;
            row[j + 1] = change < add ? (change < del ? change : del) : (add < del ? add : del);
        }
    }
    return row[n];
}

int api_unknown_field(const struct api_schema *schema, const char *key, struct error *e) {
    const char *best = NULL;
    size_t len = strlen(key), best_distance = len / 3 + 1;
    for (size_t i = 0; len < 64 && i < schema->n_fields; i++) {
        const struct api_field *f = &schema->fields[i];
        if ((f->flags & (API_F_INTERNAL | API_F_READ_ONLY)) || strlen(f->name) > 63)
            continue;
        size_t distance = edit_distance(key, f->name);
        if (distance <= best_distance) {
            best_distance = distance - (distance > 0);
            best = f->name;
        }
    }
    bool showable = len && !api_string_problem(API_FORMAT_TEXT, 0, 64, key, len, 0, NULL);
    const char *name = showable ? key : "?";
    if (best)
        return error_set_field(e, ERR_INVALID, name, "unknown field; did you mean \"%s\"?", best);
    return error_set_field(e, ERR_INVALID, name, "unknown field");
}
