/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/flag.h"

#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/units.h"
#include "cli/args.h"
#include "cli/text.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define FILE_MAX (1024 * 1024)

const char *flag_metavar(const struct api_cli_flag *flag) {
    if (flag->type == API_CLI_FILE)
        return "FILE";
    switch (flag->type) {
    case API_CLI_INTEGER:
    case API_CLI_NUMBER:
        return "N";
    case API_CLI_SIZE:
        return "SIZE";
    case API_CLI_SECONDS:
        return "TIME";
    case API_CLI_OBJECT:
        return "KEY=VALUE,...";
    case API_CLI_BOOLEAN:
        return "true|false";
    case API_CLI_ENUM:
        return "CHOICE";
    default:
        return flag->ref ? "NAME" : "TEXT";
    }
}

void flag_choices(const struct api_cli_flag *flag, struct buf *out) {
    for (size_t i = 0; flag->choices && flag->choices[i]; i++)
        buf_addf(out, "%s%s", i ? ", " : "one of ", flag->choices[i]);
}

bool flag_lacks_name(const struct api_cli_flag *flag, const char *text) {
    return flag->type == API_CLI_STRING && flag->ref && !*text;
}

void flag_default(const struct api_cli_flag *flag, struct buf *out) {
    _cleanup_json_ json_t *v = flag->text_default ? json_loads(flag->text_default, JSON_DECODE_ANY, NULL) : NULL;
    char size[SIZE_TEXT_MAX], seconds[SECONDS_TEXT_MAX];
    if (json_is_string(v))
        buf_adds(out, json_string_value(v));
    else if (flag->type == API_CLI_SIZE && json_is_integer(v))
        buf_adds(out, size_format(json_integer_value(v), size));
    else if (flag->type == API_CLI_SECONDS && json_is_integer(v))
        buf_adds(out, seconds_format(json_integer_value(v), seconds));
    else if (json_is_integer(v) || json_is_real(v))
        buf_adds(out, flag->text_default);
    size_t i;
    json_t *item;
    json_array_foreach(v, i, item) {
        if (json_is_string(item))
            buf_addf(out, "%s%s", i ? "," : "", json_string_value(item));
    }
}

void body_set(json_t *body, const char *path, json_t *value) {
    const char *dot;
    while ((dot = strchr(path, '.'))) {
        _cleanup_free_ char *part = xstrndup(path, (size_t)(dot - path));
        json_t *inner = json_object_get(body, part);
        if (!json_is_object(inner)) {
            inner = json_object();
            json_object_set_new(body, part, inner);
        }
        body = inner;
        path = dot + 1;
    }
    json_object_set_new(body, path, value);
}

static json_t *body_get(json_t *body, const char *path) {
    _cleanup_free_ char *copy = xstrdup(path);
    char *rest = copy;
    for (char *part; body && (part = strsep(&rest, "."));)
        body = json_object_get(body, part);
    return body;
}

static int read_all(int fd, const char *name, size_t max, struct buf *out, struct error *e) {
    for (;;) {
        buf_reserve(out, 16384);
        ssize_t n = read(fd, out->data + out->len, 16384);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(e, ERR_IO, "cannot read %s: %s", name, strerror(errno));
        if (n == 0)
            break;
        out->len += (size_t)n;
        if (out->len > max)
            return error_set(e, ERR_TOO_LARGE, "%s is longer than %zu bytes", name, max);
    }
    buf_reserve(out, 0);
    out->data[out->len] = 0;
    return 0;
}

int input_read(const char *path, size_t max, char **ret, struct error *e) {
    bool from_stdin = str_eq(path, "-");
    int fd = from_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set(e, ERR_INVALID, "cannot open %s: %s", path, strerror(errno));
    _cleanup_buf_ struct buf b = {0};
    int r = read_all(fd, from_stdin ? "the standard input" : path, max, &b, e);
    if (!from_stdin)
        close(fd);
    if (r < 0)
        return r;
    if (memchr(b.data, 0, b.len) || !utf8_valid(b.data))
        return error_set(e, ERR_INVALID, "%s is not text in UTF-8", from_stdin ? "the standard input" : path);
    *ret = buf_take(&b);
    return 0;
}

int input_read_secret(const char *path, char **ret, struct error *e) {
    char *text = NULL;
    int r = input_read(path, FILE_MAX, &text, e);
    if (r < 0)
        return r;
    text[strcspn(text, "\r\n")] = 0;
    *ret = text;
    return 0;
}

static int enum_value(const struct api_cli_flag *flag, const char *text, json_t **ret, struct error *e) {
    size_t n = 0;
    struct buf list = {0};
    for (; flag->choices && flag->choices[n]; n++) {
        if (str_eq(flag->choices[n], text)) {
            *ret = json_string(text);
            buf_done(&list);
            return 0;
        }
        buf_addf(&list, "%s%s", n ? ", " : "", flag->choices[n]);
    }
    const char *near = text_nearest(text, flag->choices, n);
    int r = near ? error_set(e, ERR_INVALID, "%s is one of %s; did you mean %s?", flag->name, list.data, near)
                 : error_set(e, ERR_INVALID, "%s is one of %s, not \"%s\"", flag->name, list.data, text);
    buf_done(&list);
    return r;
}

static int number_value(const struct api_cli_flag *flag, const char *text, json_t **ret, struct error *e) {
    char *end;
    errno = 0;
    if (flag->type == API_CLI_NUMBER) {
        double v = strtod(text, &end);
        if (!*text || *end || errno || !(*ret = json_real(v)))
            return error_set(e, ERR_INVALID, "%s takes a number, not \"%s\"", flag->name, text);
        return 0;
    }
    long long v = strtoll(text, &end, 10);
    if (!*text || *end)
        return error_set(e, ERR_INVALID, "%s takes a whole number, not \"%s\"", flag->name, text);
    if (errno)
        return error_set(e, ERR_INVALID, "%s: %s is too large", flag->name, text);
    *ret = json_integer(v);
    return 0;
}

static int size_value(const struct api_cli_flag *flag, const char *text, json_t **ret, struct error *e) {
    int64_t bytes;
    int r = size_parse(text, &bytes);
    if (r == -ERANGE)
        return error_set(e, ERR_INVALID, "%s: %s is too large", flag->name, text);
    if (r < 0)
        return error_set(e, ERR_INVALID, "%s takes a size such as 256MiB or 10GiB, not \"%s\"", flag->name, text);
    *ret = json_integer(bytes);
    return 0;
}

static int seconds_value(const struct api_cli_flag *flag, const char *text, json_t **ret, struct error *e) {
    int64_t seconds;
    int r = seconds_parse(text, &seconds);
    if (r == -ERANGE)
        return error_set(e, ERR_INVALID, "%s: %s is too long", flag->name, text);
    if (r < 0)
        return error_set(e, ERR_INVALID, "%s takes a time such as 90 (seconds), 10m, 2h or 7d, not \"%s\"", flag->name,
                         text);
    *ret = json_integer(seconds);
    return 0;
}

/* A key that takes a list: "roles=migration+storage", or given twice. */
static int member_values(const struct api_cli_flag *m, char *text, json_t *object, struct error *e) {
    json_t *list = body_get(object, m->path), *value;
    if (!list) {
        list = json_array();
        body_set(object, m->path, list);
    }
    for (char *item; (item = strsep(&text, "+"));) {
        int r = *item ? flag_value(m, item, &value, e) : 0;
        if (r < 0)
            return r;
        if (*item)
            json_array_append_new(list, value);
    }
    return 0;
}

static int member_add(const struct api_cli_flag *flag, char *item, json_t *object, struct error *e) {
    char *equal = strchr(item, '=');
    const char *names[64];
    size_t n = 0;
    for (const struct api_cli_flag *m = flag->members; m && m->name && n < ARRAY_LEN(names); m++)
        names[n++] = m->name;
    if (equal)
        *equal = 0;
    for (const struct api_cli_flag *m = flag->members; m && m->name; m++) {
        if (!str_eq(m->name, item))
            continue;
        json_t *value;
        if (!equal && m->type != API_CLI_BOOLEAN)
            return error_set(e, ERR_INVALID, "%s: write %s=%s", flag->name, item, flag_metavar(m));
        if (equal && flag_lacks_name(m, equal + 1))
            return error_set(e, ERR_INVALID, "%s: %s= is empty: write %s=NAME, or leave it out", flag->name, item,
                             item);
        int r = m->array && equal ? member_values(m, equal + 1, object, e)
                                  : flag_value(m, equal ? equal + 1 : "true", &value, e);
        if (r < 0) {
            _cleanup_error_ struct error inner = *e;
            *e = ERROR_INIT;
            return error_set(e, inner.code, "%s: %s", flag->name, inner.message);
        }
        if (!m->array || !equal)
            body_set(object, m->path, value);
        return 0;
    }
    struct buf all = {0};
    for (size_t i = 0; i < n; i++)
        buf_addf(&all, "%s%s", i ? ", " : "", names[i]);
    const char *near = text_nearest(item, names, n);
    int r = near ? error_set(e, ERR_INVALID, "%s has no key \"%s\"; did you mean %s?", flag->name, item, near)
                 : error_set(e, ERR_INVALID, "%s takes KEY=VALUE,... with the keys %s; \"%s\" is none of them",
                             flag->name, all.data ? all.data : "", item);
    buf_done(&all);
    return r;
}

static int object_value(const struct api_cli_flag *flag, const char *text, json_t **ret, struct error *e) {
    _cleanup_json_ json_t *object = json_object();
    _cleanup_free_ char *copy = xstrdup(text);
    char *rest = copy;
    for (char *item; (item = strsep(&rest, ","));) {
        int r = *item ? member_add(flag, item, object, e) : 0;
        if (r < 0)
            return r;
    }
    *ret = TAKE_PTR(object);
    return 0;
}

/* "password", "fence.password": the file's first line, as editors and echo end it with a line break. */
static bool is_password(const struct api_cli_flag *flag) {
    const char *last = strrchr(flag->path, '.');
    return str_eq(last ? last + 1 : flag->path, "password");
}

int flag_value(const struct api_cli_flag *flag, const char *text, json_t **ret, struct error *e) {
    _cleanup_free_ char *file = NULL;
    if (flag->type == API_CLI_FILE) {
        int r = is_password(flag) ? input_read_secret(text, &file, e) : input_read(text, FILE_MAX, &file, e);
        if (r >= 0)
            *ret = json_string(file);
        return r;
    }
    switch (flag->type) {
    case API_CLI_INTEGER:
    case API_CLI_NUMBER:
        return number_value(flag, text, ret, e);
    case API_CLI_SIZE:
        return size_value(flag, text, ret, e);
    case API_CLI_SECONDS:
        return seconds_value(flag, text, ret, e);
    case API_CLI_ENUM:
        return enum_value(flag, text, ret, e);
    case API_CLI_OBJECT:
        return object_value(flag, text, ret, e);
    case API_CLI_BOOLEAN:
        if (!str_eq(text, "true") && !str_eq(text, "false") && !str_eq(text, "yes") && !str_eq(text, "no"))
            return error_set(e, ERR_INVALID, "%s takes true or false, not \"%s\"", flag->name, text);
        *ret = json_boolean(str_eq(text, "true") || str_eq(text, "yes"));
        return 0;
    default:
        *ret = json_string(text);
        return 0;
    }
}

/* Words (tags, devices) may be given with commas; a text may hold commas itself. */
static bool splits(const struct api_cli_flag *flag) { return flag->type != API_CLI_OBJECT; }

int flag_append(const struct api_cli_flag *flag, const char *text, json_t *body, struct error *e) {
    json_t *list = body_get(body, flag->path), *value;
    if (!list) {
        list = json_array();
        body_set(body, flag->path, list);
    }
    if (!splits(flag)) {
        int r = flag_value(flag, text, &value, e);
        return r < 0 ? r : json_array_append_new(list, value);
    }
    _cleanup_free_ char *copy = xstrdup(text);
    char *rest = copy;
    for (char *item; (item = strsep(&rest, ","));) {
        if (flag_lacks_name(flag, item))
            return error_set(e, ERR_INVALID, "--%s has an empty name in it: \"%s\"", flag->name, text);
        int r = *item ? flag_value(flag, item, &value, e) : 0;
        if (r < 0)
            return r;
        if (*item)
            json_array_append_new(list, value);
    }
    return 0;
}
