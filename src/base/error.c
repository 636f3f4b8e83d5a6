/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include "base/mem.h"

#include <errno.h>

static const struct {
    const char *text;
    int http, exit, err;
} codes[] = {
#define X(name, text, http, exit, err) [ERR_##name] = {text, http, exit, err},
    ERROR_CODES(X)
#undef X
};

const char *error_code_text(enum error_code code) { return codes[code < ERR_COUNT_ ? code : ERR_INTERNAL].text; }
int error_http_status(enum error_code code) { return codes[code < ERR_COUNT_ ? code : ERR_INTERNAL].http; }
int error_exit_code(enum error_code code) { return codes[code < ERR_COUNT_ ? code : ERR_INTERNAL].exit; }
int error_errno(enum error_code code) { return codes[code < ERR_COUNT_ ? code : ERR_INTERNAL].err; }

enum error_code error_code_parse(const char *text) {
    for (size_t i = 0; text && i < ERR_COUNT_; i++)
        if (strcmp(codes[i].text, text) == 0)
            return (enum error_code)i;
    return ERR_INTERNAL;
}

__attribute__((format(printf, 4, 0))) static int
error_vset(struct error *e, enum error_code code, const char *field, const char *fmt, va_list ap) {
    if (e) {
        /* Formatted first: an argument may be the old message. */
        char *message = xvasprintf(fmt, ap);
        char *f = xstrdup(field);
        error_done(e);
        *e = (struct error){.code = code, .message = message, .field = f};
    }
    return -error_errno(code);
}

int error_set(struct error *e, enum error_code code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int r = error_vset(e, code, NULL, fmt, ap);
    va_end(ap);
    return r;
}

int error_set_field(struct error *e, enum error_code code, const char *field, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int r = error_vset(e, code, field, fmt, ap);
    va_end(ap);
    return r;
}

void error_prefix_field(struct error *e, const char *prefix) {
    if (!e || e->code == ERR_OK)
        return;
    if (!e->field)
        e->field = xstrdup(prefix);
    else
        str_take(&e->field, xasprintf("%s%s%s", prefix, e->field[0] == '[' ? "" : ".", e->field));
}

void error_done(struct error *e) {
    if (!e)
        return;
    free(e->message);
    free(e->field);
    *e = ERROR_INIT;
}

void error_move(struct error *to, struct error *from) {
    error_done(to);
    *to = *from;
    *from = ERROR_INIT;
}

int error_copy(struct error *to, const struct error *from) {
    return error_set_field(to, from->code, from->field, "%s", from->message ? from->message : "");
}

/* JSON is UTF-8. A message may quote bytes that are not (a name that was cut off); it must arrive all the same. */
static json_t *text(const char *s) {
    json_t *j = json_string(s);
    if (j)
        return j;
    char *ascii = xstrdup(s);
    for (char *p = ascii; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    j = json_string(ascii);
    free(ascii);
    return j;
}

json_t *error_print(const struct error *e) {
    json_t *j = json_object();
    json_object_set_new(j, "code", json_string(error_code_text(e->code)));
    json_object_set_new(j, "message", text(e->message ? e->message : error_code_text(e->code)));
    if (e->field)
        json_object_set_new(j, "field", text(e->field));
    return j;
}

int error_parse(struct error *e, const json_t *j) {
    const char *code = json_string_value(json_object_get(j, "code"));
    const char *message = json_string_value(json_object_get(j, "message"));
    const char *field = json_string_value(json_object_get(j, "field"));
    enum error_code c = error_code_parse(code);
    if (c == ERR_OK)
        c = ERR_INTERNAL;
    return error_set_field(e, c, field, "%s", message ? message : "the other side gave no reason");
}
