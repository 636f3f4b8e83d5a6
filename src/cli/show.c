/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show.h"

#include "api/api.h"
#include "base/mem.h"
#include "base/units.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/yaml.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

const json_t *json_at(const json_t *object, const char *path) {
    while (object && *path) {
        size_t n = strcspn(path, ".");
        _cleanup_free_ char *part = xstrndup(path, n);
        if (json_is_array(object))
            object = isdigit((unsigned char)*part) ? json_array_get(object, strtoul(part, NULL, 10)) : NULL;
        else
            object = json_object_get(object, part);
        path += n + (path[n] == '.');
    }
    return object;
}

static char *number_text(double v) {
    if (v == floor(v) || fabs(v) >= 1000)
        return xasprintf("%.0f", v);
    return xasprintf("%.2f", v);
}

static char *string_text(const struct column *column, const char *s, const json_t *names) {
    int64_t ms;
    char buf[TIME_TEXT_MAX];
    if (column->ref && json_object_get(names, s))
        return xstrdup(json_str(names, s));
    /* Some times are declared as plain texts because they may be empty. Nobody reads milliseconds in a table. */
    if (strlen(s) >= 20 && s[10] == 'T' && time_parse(s, &ms) == 0) {
        time_format(ms, buf);
        return xasprintf("%.19sZ", buf);
    }
    return xstrdup(s);
}

static char *object_text(const json_t *value) {
    const char *name = json_str(value, "name");
    if (*name)
        return xstrdup(name);
    return json_object_size(value) ? json_text(value) : xstrdup("");
}

static char *list_text(const struct column *column, const json_t *value, const json_t *names) {
    struct buf b = {0};
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)value, i, item) {
        _cleanup_free_ char *s = show_cell(column, item, names);
        buf_addf(&b, "%s%s", i ? ", " : "", s);
    }
    return buf_take(&b);
}

char *show_cell(const struct column *column, const json_t *value, const json_t *names) {
    char size[SIZE_TEXT_MAX], seconds[SECONDS_TEXT_MAX];
    if (!value || json_is_null(value))
        return xstrdup("");
    if (json_is_array(value))
        return list_text(column, value, names);
    if (json_is_object(value))
        return object_text(value);
    if (json_is_boolean(value))
        return xstrdup(json_is_true(value) ? "yes" : "no");
    if (json_is_number(value) && column->type == API_CLI_SIZE)
        return xstrdup(size_format((int64_t)json_number_value(value), size));
    if (json_is_number(value) && column->type == API_CLI_RATE)
        return xasprintf("%s/s", size_format((int64_t)json_number_value(value), size));
    if (json_is_integer(value) && column->type == API_CLI_SECONDS)
        return xstrdup(seconds_format(json_integer_value(value), seconds));
    if (json_is_integer(value))
        return xasprintf("%lld", (long long)json_integer_value(value));
    if (json_is_real(value))
        return number_text(json_real_value(value));
    return string_text(column, json_string_value(value), names);
}

const char *show_style(const struct column *column, const char *text) {
    static const struct {
        const char *text, *style;
    } styles[] = {
        {"running", "32"}, {"online", "32"},   {"ready", "32"},    {"done", "32"},     {"complete", "32"},
        {"crashed", "31"}, {"failed", "31"},   {"error", "31"},    {"offline", "31"},  {"unavailable", "31"},
        {"unknown", "31"}, {"starting", "33"}, {"stopping", "33"}, {"creating", "33"}, {"deleting", "33"},
        {"queued", "33"},  {"undoing", "33"},  {"warning", "33"},  {"aborted", "33"},  {"suspended", "33"},
    };
    if (!str_eq(column->path, "state") && !str_eq(column->path, "severity"))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(styles); i++)
        if (str_eq(styles[i].text, text))
            return styles[i].style;
    return NULL;
}

static bool is_number(const struct column *c) {
    return !c->array && (c->type == API_CLI_INTEGER || c->type == API_CLI_NUMBER || c->type == API_CLI_SIZE ||
                         c->type == API_CLI_RATE || c->type == API_CLI_SECONDS);
}

static void table_fill(struct table *t, const json_t *objects, const struct column *columns, const json_t *names) {
    for (const struct column *c = columns; c->path; c++)
        table_column(t, c->title, is_number(c) ? TABLE_RIGHT : TABLE_LEFT);
    size_t i;
    json_t *object;
    json_array_foreach((json_t *)objects, i, object) {
        for (const struct column *c = columns; c->path; c++) {
            _cleanup_free_ char *text = show_cell(c, json_at(object, c->path), names);
            table_cell(t, *text ? text : "-", show_style(c, text));
        }
    }
}

void show_value(const struct cli *cli, const json_t *value) {
    struct buf out = {0};
    if (cli->output == OUTPUT_YAML) {
        yaml_print(&out, value);
    } else {
        char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        if (!text)
            abort();
        text_escape_json(&out, text, strlen(text));
        buf_addc(&out, '\n');
        free(text);
    }
    cli_write(out.data, out.len);
    buf_done(&out);
}

/* What a script needs of an object: its name, or its id; of a new token its secret, in the form that tarn-agent join
 * takes. */
static void show_name(const json_t *object) {
    const char *secret = json_str(object, "secret"), *fingerprint = json_str(object, "ca_fingerprint");
    bool join = *fingerprint && str_eq(json_str(json_object_get(object, "token"), "kind"), "join");
    const char *name = str_or(json_str(object, "name"), str_or(secret, json_str(object, "id")));
    _cleanup_free_ char *text = join ? xasprintf("%s.%s", secret, fingerprint) : text_safe(name);
    cli_write(text, strlen(text));
    cli_write("\n", 1);
}

int show_list(struct cli *cli, const json_t *objects, const struct column *columns) {
    size_t i;
    json_t *object;
    if (cli->output == OUTPUT_NAME) {
        json_array_foreach((json_t *)objects, i, object) show_name(object);
        return 0;
    }
    if (cli->output != OUTPUT_TABLE) {
        show_value(cli, objects);
        return 0;
    }
    _cleanup_json_ json_t *names = names_load(cli, objects, columns);
    _cleanup_table_ struct table *t = table_new();
    _cleanup_buf_ struct buf out = {0};
    table_fill(t, objects, columns, names);
    table_print(t, &out, cli->width, cli->colour);
    cli_write(out.data, out.len);
    return 0;
}

static void indent_lines(struct buf *out, const struct buf *text, size_t indent) {
    const char *s = text->data ? text->data : "";
    while (*s) {
        size_t n = strcspn(s, "\n");
        text_pad(out, indent);
        buf_add(out, s, n);
        buf_addc(out, '\n');
        s += n + (s[n] == '\n');
    }
}

static void print_fields(const struct cli *cli, struct buf *out, const json_t *object, const struct api_cli_view *view,
                         const json_t *names, size_t indent);

/* What consumers are ranked by has the unit of the list in which they stand. */
static enum api_cli_type value_type(const char *list, enum api_cli_type otherwise) {
    return str_eq(list, "top_memory")                                ? API_CLI_SIZE
           : str_eq(list, "top_disk") || str_eq(list, "top_network") ? API_CLI_RATE
                                                                     : otherwise;
}

/* A list of objects below its field's name. */
static void print_rows(const struct cli *cli, struct buf *out, const json_t *rows, const struct column *field,
                       const json_t *names, size_t indent) {
    _cleanup_table_ struct table *t = table_new();
    _cleanup_columns_ struct column *columns = NULL;
    _cleanup_buf_ struct buf text = {0};
    columns_make(field->view, NULL, &columns, NULL);
    for (struct column *c = columns; c->path; c++)
        if (str_eq(c->path, "value"))
            c->type = value_type(field->path, c->type);
    table_fill(t, rows, columns, names);
    table_print(t, &text, cli->width > indent + 20 ? cli->width - indent : cli->width, cli->colour);
    buf_addc(out, '\n');
    indent_lines(out, &text, indent);
}

/* A text of several lines keeps them, below its field's name. */
static void print_text(const struct cli *cli, struct buf *out, const char *text, const char *style, size_t indent) {
    if (!strchr(text, '\n')) {
        _cleanup_free_ char *safe = text_safe(text);
        if (style && cli->colour)
            buf_addf(out, "\033[%sm%s\033[0m\n", style, safe);
        else
            buf_addf(out, "%s\n", *safe ? safe : "-");
        return;
    }
    _cleanup_buf_ struct buf lines = {0};
    _cleanup_free_ char *safe = text_safe_lines(text);
    buf_adds(&lines, safe);
    buf_addc(out, '\n');
    indent_lines(out, &lines, indent);
}

static void print_field(const struct cli *cli, struct buf *out, const json_t *value, const struct column *field,
                        const json_t *names, size_t indent) {
    if (field->view && json_is_array(value) && json_array_size(value)) {
        print_rows(cli, out, value, field, names, indent + 2);
    } else if (field->view && json_is_object(value) && json_object_size(value)) {
        buf_addc(out, '\n');
        print_fields(cli, out, value, field->view, names, indent + 2);
    } else {
        _cleanup_free_ char *text = show_cell(field, value, names);
        print_text(cli, out, text, show_style(field, text), indent + 2);
    }
}

static struct column column_of(const struct api_cli_field *f) {
    struct column c = {.path = f->name, .type = f->type, .array = f->array, .ref = f->ref, .view = f->view};
    /* Samples and steps hold plain ids in fields that are called like the kind. */
    if (!c.ref && f->type == API_CLI_STRING && (str_eq(f->name, "server") || str_eq(f->name, "vm")))
        c.ref = f->name;
    return c;
}

static void print_fields(const struct cli *cli, struct buf *out, const json_t *object, const struct api_cli_view *view,
                         const json_t *names, size_t indent) {
    size_t widest = 0;
    for (const struct api_cli_field *f = view->fields; f->name; f++)
        if (json_object_get(object, f->name) && strlen(f->name) > widest)
            widest = strlen(f->name);
    for (const struct api_cli_field *f = view->fields; f->name; f++) {
        const json_t *value = json_object_get(object, f->name);
        if (!value)
            continue;
        struct column field = column_of(f);
        text_pad(out, indent);
        buf_adds(out, f->name);
        text_pad(out, widest - strlen(f->name) + 2);
        print_field(cli, out, value, &field, names, indent);
    }
}

/* Samples come as one array for each figure, beside the times: a row for each time is what people read. */
static bool is_series(const json_t *object) {
    const json_t *times = json_object_get(object, "times"), *value;
    const char *name;
    if (!json_is_array(times))
        return false;
    json_object_foreach((json_t *)object, name, value) {
        if (json_array_size(value) && json_array_size(value) != json_array_size(times))
            return false;
    }
    return true;
}

static char *series_cell(const struct column *c, const json_t *value) {
    char text[TIME_TEXT_MAX], size[SIZE_TEXT_MAX];
    if (str_eq(c->path, "times") && json_is_integer(value)) {
        time_format(json_integer_value(value) * 1000, text);
        return xasprintf("%.19sZ", text);
    }
    /* Bytes, and bytes in a second: of all that is sampled only CPUs are something else. */
    if (json_is_number(value) && !str_eq(c->path, "cpu"))
        return xstrdup(size_format((int64_t)json_number_value(value), size));
    return show_cell(c, value, NULL);
}

static void show_series(struct cli *cli, const json_t *object, const struct api_cli_view *view) {
    _cleanup_columns_ struct column *columns = NULL;
    _cleanup_table_ struct table *t = table_new();
    _cleanup_buf_ struct buf out = {0};
    columns_make(view, NULL, &columns, NULL);
    for (const struct column *c = columns; c->path; c++)
        if (json_array_size(json_object_get(object, c->path)))
            table_column(t, str_eq(c->path, "times") ? "TIME" : c->title, TABLE_RIGHT);
    for (size_t i = 0; i < json_array_size(json_object_get(object, "times")); i++) {
        for (const struct column *c = columns; c->path; c++) {
            const json_t *values = json_object_get(object, c->path);
            if (!json_array_size(values))
                continue;
            _cleanup_free_ char *text = series_cell(c, json_array_get(values, i));
            table_cell(t, *text ? text : "-", NULL);
        }
    }
    table_print(t, &out, cli->width, cli->colour);
    cli_write(out.data, out.len);
}

int show_object(struct cli *cli, const json_t *object, const struct api_cli_view *view) {
    if (cli->output == OUTPUT_NAME) {
        show_name(object);
        return 0;
    }
    if (cli->output != OUTPUT_TABLE || !view || !json_is_object(object)) {
        show_value(cli, object);
        return 0;
    }
    if (is_series(object) && json_array_size(json_object_get(object, "times"))) {
        show_series(cli, object, view);
        return 0;
    }
    _cleanup_json_ json_t *list = json_pack("[O]", object), *names = NULL;
    struct column self[] = {{.path = "", .view = view}, {0}};
    names = names_load(cli, list, self);
    _cleanup_buf_ struct buf out = {0};
    print_fields(cli, &out, object, view, names, 0);
    if (out.len)
        cli_write(out.data, out.len);
    return 0;
}

/* ---- columns ---- */

/* of: the field that the view is of, or NULL. */
static int field_missing(const char *path, const char *part, const char *of, const char *const *names, size_t n,
                         struct error *e) {
    const char *near = text_nearest(part, names, n);
    if (!n)
        return error_set(e, ERR_INVALID,
                         "--fields: there is no field %s: %s is a value, which has no fields of its own", path,
                         of ? of : "it");
    if (near)
        return error_set(e, ERR_INVALID, "--fields: there is no field %s; did you mean %s?", path, near);
    _cleanup_buf_ struct buf all = {0};
    for (size_t i = 0; i < n; i++)
        buf_addf(&all, "%s%s", i ? ", " : "", names[i]);
    return error_set(e, ERR_INVALID, "--fields: there is no field %s; %s%shas %s", path, of ? of : "", of ? " " : "it ",
                     all.data);
}

/* The field at a dotted path; indices into arrays are passed over. */
static int column_find(const struct api_cli_view *view, const char *path, struct column *ret, struct error *e) {
    const char *names[64], *of = NULL;
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "."), n = 0;
        _cleanup_free_ char *part = xstrndup(p, len);
        const struct api_cli_field *found = NULL;
        p += len + (p[len] == '.');
        if (isdigit((unsigned char)*part) && p > path + len + 1)
            continue;
        for (const struct api_cli_field *f = view ? view->fields : NULL; f && f->name; f++) {
            if (n < ARRAY_LEN(names))
                names[n++] = f->name;
            if (str_eq(f->name, part))
                found = f;
        }
        if (!found)
            return field_missing(path, part, of, names, n, e);
        *ret = column_of(found);
        of = found->name;
        view = found->view;
    }
    return 0;
}

/* "hardware.memory" → "MEMORY", "object.name" → "OBJECT", "ha.enabled" → "HA", "disks.0.size" → "SIZE" */
static char *title_of(const char *path) {
    const char *last = strrchr(path, '.');
    struct buf b = {0};
    if (last && (str_eq(last, ".name") || str_eq(last, ".enabled")))
        buf_add(&b, path, (size_t)(last - path));
    else
        buf_adds(&b, last ? last + 1 : path);
    for (size_t i = 0; i < b.len; i++)
        b.data[i] = (char)(b.data[i] == '_' ? ' ' : toupper((unsigned char)b.data[i]));
    return buf_take(&b);
}

void columns_free(struct column *columns) {
    for (struct column *c = columns; c && c->path; c++) {
        free((char *)c->path);
        free((char *)c->title);
    }
    free(columns);
}

static int column_add(struct column **columns, size_t *n, const struct api_cli_view *view, const char *path,
                      struct error *e) {
    struct column found = {0};
    int r = column_find(view, path, &found, e);
    if (r < 0)
        return r;
    *columns = xreallocarray(*columns, *n + 2, sizeof **columns);
    found.path = xstrdup(path);
    found.title = title_of(path);
    (*columns)[(*n)++] = found;
    (*columns)[*n] = (struct column){0};
    return 0;
}

int columns_make(const struct api_cli_view *view, const char *names, struct column **ret, struct error *e) {
    _cleanup_columns_ struct column *columns = xcalloc(1, sizeof *columns);
    size_t n = 0;
    int r = 0;
    if (names) {
        _cleanup_free_ char *copy = xstrdup(names);
        char *rest = copy;
        for (char *name; r >= 0 && (name = strsep(&rest, ","));)
            r = *name ? column_add(&columns, &n, view, name, e) : 0;
        if (r >= 0 && !n)
            r = error_set(e, ERR_INVALID, "--fields names no field");
    } else if (view->columns) {
        for (const char *const *path = view->columns; r >= 0 && *path; path++)
            r = column_add(&columns, &n, view, *path, e);
    } else {
        /* What may be long comes last, where it pushes nothing aside. */
        for (int last = 0; last < 2; last++)
            for (const struct api_cli_field *f = view->fields; r >= 0 && f->name; f++)
                if (str_eq(f->name, "reason") == last)
                    r = column_add(&columns, &n, view, f->name, e);
    }
    if (r < 0)
        return r;
    *ret = TAKE_PTR(columns);
    return 0;
}

/* ---- names of what is referred to ---- */

static void ids_add(const struct column *c, const json_t *value, const char *kind, json_t *ids) {
    size_t i;
    json_t *item;
    if (json_is_array(value)) {
        json_array_foreach((json_t *)value, i, item) ids_add(c, item, kind, ids);
    } else if (str_eq(c->ref, kind)) {
        if (json_is_string(value) && json_string_length(value))
            json_object_set_new(ids, json_string_value(value), json_null());
    } else if (c->view && json_is_object(value)) {
        for (const struct api_cli_field *f = c->view->fields; f->name; f++) {
            struct column field = column_of(f);
            ids_add(&field, json_object_get(value, f->name), kind, ids);
        }
    }
}

/* A few are asked for one by one; for many the whole list is cheaper. */
#define NAMES_SINGLE 4

static void names_fetch(struct cli *cli, const struct api_kind_info *kind, const json_t *ids, json_t *names) {
    size_t i;
    json_t *item, *list = NULL, *object;
    const char *id;
    if (json_object_size(ids) > NAMES_SINGLE) {
        if (engine_list(cli, kind->plural, NULL, NULL, "id,name", 0, &list, NULL) < 0)
            return;
        json_array_foreach(list, i, item) json_object_set(names, json_str(item, "id"), json_object_get(item, "name"));
        json_decref(list);
        return;
    }
    json_object_foreach((json_t *)ids, id, item) {
        struct buf path = {0};
        buf_addf(&path, "/%s/", kind->plural);
        url_encode(&path, id);
        object = NULL;
        if (http_get(cli->http, path.data, &object, NULL) == 0 && json_is_string(json_object_get(object, "name")))
            json_object_set(names, id, json_object_get(object, "name"));
        json_decref(object);
        buf_done(&path);
    }
}

json_t *names_load(struct cli *cli, const json_t *objects, const struct column *columns) {
    json_t *names = json_object();
    for (int k = 0; k < API_KIND_COUNT && cli->http; k++) {
        _cleanup_json_ json_t *ids = json_object();
        size_t i;
        json_t *object;
        json_array_foreach((json_t *)objects, i, object) for (const struct column *c = columns; c->path; c++)
            ids_add(c, json_at(object, c->path), api_kinds[k].name, ids);
        if (json_object_size(ids))
            names_fetch(cli, &api_kinds[k], ids, names);
    }
    return names;
}
