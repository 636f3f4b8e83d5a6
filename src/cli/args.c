/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include "base/id.h"
#include "base/mem.h"
#include "cli/flag.h"
#include "cli/text.h"

#include <errno.h>

const struct option options_global[] = {
    {"output", "FORMAT", "table (default), json, yaml or name", 'o'},
    {"profile", "PROFILE", "the manager and user to work as; default $TARN_PROFILE or \"default\"", 0},
    {"dry-run", NULL, "print the request that would be sent and send nothing", 0},
    {"verbose", NULL, "print each request and its time on stderr", 'v'},
    {"quiet", NULL, "no progress and no notes", 'q'},
    {"help", NULL, "show this help", 'h'},
    {0},
};
const struct option options_wait[] = {
    {"no-wait", NULL, "print the job and do not wait for its end", 0},
    {0},
};
const struct option options_list[] = {
    {"filter", "FILTER",
     "FIELD=VALUE, FIELD!=VALUE, FIELD~TEXT, FIELD<VALUE or FIELD>VALUE, comma-separated; all must hold", 0},
    {"sort", "FIELD", "sort by a field; -FIELD for descending", 0},
    {"limit", "N", "at most N objects; default all, and of jobs the last 100", 0},
    {"fields", "FIELDS", "comma-separated fields to show, dotted for inner ones (hardware.cpus)", 0},
    {0},
};
const struct option options_change[] = {
    {"if-match", "REVISION", "change it only if this is still its revision (see show)", 0},
    {0},
};

void args_done(struct args *a) {
    json_decref(a->body);
    json_decref(a->options);
    *a = (struct args){0};
}

bool command_has_flags(const struct command *c) { return c->row && c->row->flags && (!c->row->special || c->body); }

const struct api_cli_flag *command_flag(const struct command *c, const char *name) {
    for (const struct api_cli_flag *f = command_has_flags(c) ? c->row->flags : NULL; f && f->name; f++)
        if (str_eq(f->name, name))
            return f;
    return NULL;
}

bool command_arg_in_path(const struct api_cli_command *row, int i) {
    _cleanup_free_ char *braces = xasprintf("{%s}", row->args[i]);
    return strstr(row->path, braces) != NULL;
}

void command_arg_name(const struct api_cli_command *row, int i, struct buf *out) {
    for (const char *p = str_eq(row->args[i], "q") ? "text" : row->args[i]; *p; p++)
        buf_addc(out, *p == '_' ? '-' : (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p));
}

static const struct option *option_find(const struct option *o, const char *name, char letter) {
    for (; o && o->name; o++)
        if (name ? str_eq(o->name, name) : letter && o->letter == letter)
            return o;
    return NULL;
}

const struct option *command_option(const struct command *c, const char *name, char letter) {
    const struct option *o = option_find(c->options, name, letter);
    if (!o && c->row && c->row->list)
        o = option_find(options_list, name, letter);
    if (!o && c->row && c->row->change)
        o = option_find(options_change, name, letter);
    if (!o && c->row && c->row->job)
        o = option_find(options_wait, name, letter);
    return o ? o : option_find(options_global, name, letter);
}

static size_t names_add(const char **names, size_t n, size_t max, const struct option *o) {
    for (; o && o->name && n < max; o++)
        names[n++] = o->name;
    return n;
}

static int option_unknown(const struct command *c, const char *given, struct error *e) {
    const char *names[128];
    size_t n = 0, max = ARRAY_LEN(names);
    for (const struct api_cli_flag *f = command_has_flags(c) ? c->row->flags : NULL; f && f->name && n < max; f++)
        names[n++] = f->name;
    n = names_add(names, n, max, c->options);
    n = names_add(names, n, max, c->row && c->row->list ? options_list : NULL);
    n = names_add(names, n, max, c->row && c->row->change ? options_change : NULL);
    n = names_add(names, n, max, c->row && c->row->job ? options_wait : NULL);
    n = names_add(names, n, max, options_global);
    const char *near = text_nearest(given, names, n);
    if (near)
        return error_set(e, ERR_INVALID, "there is no option --%s; did you mean --%s?", given, near);
    return error_set(e, ERR_INVALID, "there is no option --%s; see tarn %s%s%s --help", given, c->object,
                     *c->verb ? " " : "", c->verb);
}

static void option_store(struct args *a, const char *name, json_t *value) {
    json_t *list = json_object_get(a->options, name);
    if (!list) {
        list = json_array();
        json_object_set_new(a->options, name, list);
    }
    json_array_append_new(list, value);
}

/* Where the next argument comes from. */
struct cursor {
    int argc, at;
    char *const *argv;
};

/* Of the options that are no fields a search and the text for a console may be empty; the others name something. */
static bool may_be_empty(const char *arg) { return str_eq(arg, "TEXT") || str_eq(arg, "FILTER"); }

static int option_value_check(const struct option *o, const char *value, struct error *e) {
    return *value || may_be_empty(o->arg)
               ? 0
               : error_set(e, ERR_INVALID, "--%s is empty: write --%s %s, or leave it out", o->name, o->name, o->arg);
}

/* arg: what it is, more: which there are. */
static int value_take(struct cursor *c, const char *name, const char *arg, const char *more, const char *inline_value,
                      const char **ret, struct error *e) {
    if (inline_value) {
        *ret = inline_value;
    } else {
        if (c->at == c->argc)
            return error_set(e, ERR_INVALID, "--%s needs a value: --%s %s%s%s", name, name, arg, *more ? ": " : "",
                             more);
        *ret = c->argv[c->at++];
    }
    if (!utf8_valid(*ret))
        return error_set(e, ERR_INVALID, "the value of --%s is not valid UTF-8", name);
    return 0;
}

static int flag_take(struct args *a, const struct api_cli_flag *f, struct cursor *c, const char *inline_value,
                     struct error *e) {
    json_t *value = NULL;
    int r;
    if (f->type == API_CLI_BOOLEAN && !f->array) {
        if (inline_value && !str_eq(inline_value, "true") && !str_eq(inline_value, "false"))
            return error_set(e, ERR_INVALID, "--%s takes true or false, not \"%s\"", f->name, inline_value);
        body_set(a->body, f->path, json_boolean(!inline_value || str_eq(inline_value, "true")));
        return 0;
    }
    const char *text = NULL;
    _cleanup_buf_ struct buf choices = {0};
    flag_choices(f, &choices);
    if ((r = value_take(c, f->name, flag_metavar(f), str_or(choices.data, ""), inline_value, &text, e)) < 0)
        return r;
    if (flag_lacks_name(f, text))
        return error_set(e, ERR_INVALID, "--%s is empty: write --%s NAME%s%s%s", f->name, f->name,
                         f->required ? "" : ", or leave it out", f->array ? "; none at all is --no-" : "",
                         f->array ? f->name : "");
    if (f->array)
        return flag_append(f, text, a->body, e);
    if ((r = flag_value(f, text, &value, e)) < 0)
        return r;
    body_set(a->body, f->path, value);
    return 0;
}

/* --no-start for a boolean, --no-disk for an empty array. */
static bool negated_take(struct args *a, const char *name, const char *inline_value) {
    const struct api_cli_flag *f = strncmp(name, "no-", 3) == 0 ? command_flag(a->command, name + 3) : NULL;
    if (!f || inline_value || (f->type != API_CLI_BOOLEAN && !f->array))
        return false;
    body_set(a->body, f->path, f->array ? json_array() : json_false());
    return true;
}

static int long_take(struct args *a, const char *text, struct cursor *c, struct error *e) {
    const char *equal = strchr(text, '=');
    _cleanup_free_ char *name = equal ? xstrndup(text, (size_t)(equal - text)) : xstrdup(text);
    const char *inline_value = equal ? equal + 1 : NULL, *value = NULL;
    const struct api_cli_flag *f = command_flag(a->command, name);
    if (f)
        return flag_take(a, f, c, inline_value, e);
    const struct option *o = command_option(a->command, name, 0);
    if (!o)
        return negated_take(a, name, inline_value) ? 0 : option_unknown(a->command, name, e);
    if (!o->arg && inline_value)
        return error_set(e, ERR_INVALID, "--%s takes no value", name);
    if (o->arg) {
        int r = value_take(c, name, o->arg, "", inline_value, &value, e);
        if (r < 0 || (r = option_value_check(o, value, e)) < 0)
            return r;
    }
    option_store(a, o->name, value ? json_string(value) : json_true());
    return 0;
}

static int short_take(struct args *a, const char *letters, struct cursor *c, struct error *e) {
    for (; *letters; letters++) {
        const struct option *o = command_option(a->command, NULL, *letters);
        if (!o)
            return error_set(e, ERR_INVALID, "there is no option -%c; see tarn %s%s%s --help", *letters,
                             a->command->object, *a->command->verb ? " " : "", a->command->verb);
        if (!o->arg) {
            option_store(a, o->name, json_true());
            continue;
        }
        const char *value = NULL;
        int r = value_take(c, o->name, o->arg, "", letters[1] ? letters + 1 + (letters[1] == '=') : NULL, &value, e);
        if (r < 0 || (r = option_value_check(o, value, e)) < 0)
            return r;
        option_store(a, o->name, json_string(value));
        return 0;
    }
    return 0;
}

static int positional_take(struct args *a, const char *text, struct error *e) {
    const struct command *c = a->command;
    if (a->n_values >= c->max_args || a->n_values >= ARGS_MAX) {
        if (!c->max_args)
            return error_set(e, ERR_INVALID, "\"%s\" is too much: the command takes no names", text);
        return error_set(e, ERR_INVALID, "\"%s\" is too much: the command takes %d %s%s", text, c->max_args,
                         c->max_args == 1 ? "argument" : "arguments",
                         strchr(text, '=') ? "; write options with --" : "");
    }
    if (!utf8_valid(text))
        return error_set(e, ERR_INVALID, "argument %d is not valid UTF-8", a->n_values + 1);
    if (!*text)
        return error_set(e, ERR_INVALID, "argument %d is empty", a->n_values + 1);
    a->values[a->n_values++] = text;
    return 0;
}

static int output_check(const struct args *a, struct error *e) {
    static const char *const formats[] = {"table", "json", "yaml", "name"};
    const char *given = args_option(a, "output");
    for (size_t i = 0; given && i < ARRAY_LEN(formats); i++)
        if (str_eq(given, formats[i]))
            return 0;
    return given ? error_set(e, ERR_INVALID, "--output is table, json, yaml or name, not \"%s\"", given) : 0;
}

static bool is_on_off(const char *text) { return str_eq(text, "on") || str_eq(text, "off"); }

/* "NAME on" is as good as "on NAME", which is as the help has it. */
static int on_off_first(struct args *a, struct error *e) {
    if (!is_on_off(a->values[0]) && a->n_values > 1 && is_on_off(a->values[1])) {
        const char *name = a->values[0];
        a->values[0] = a->values[1];
        a->values[1] = name;
    }
    const struct command *c = a->command;
    return is_on_off(a->values[0]) ? 0
                                   : error_set(e, ERR_INVALID, "say on or off: tarn %s %s on %s", c->object, c->verb,
                                               a->n_values > 1 ? a->values[1] : a->values[0]);
}

int args_parse(const struct command *command, int argc, char *const *argv, struct args *ret, struct error *e) {
    _cleanup_args_ struct args a = {.command = command, .options = json_object()};
    if (command_has_flags(command))
        a.body = json_object();
    struct cursor c = {.argc = argc, .argv = argv};
    bool literal = false;
    int r = 0;
    while (r >= 0 && c.at < argc) {
        const char *text = argv[c.at++];
        if (literal || text[0] != '-' || !text[1])
            r = positional_take(&a, text, e);
        else if (str_eq(text, "--"))
            literal = true;
        else if (text[1] == '-')
            r = long_take(&a, text + 2, &c, e);
        else
            r = short_take(&a, text + 1, &c, e);
    }
    a.help = args_has(&a, "help");
    if (a.help)
        r = 0;
    if (r >= 0)
        r = output_check(&a, e);
    if (r < 0)
        return r;
    error_done(e);
    bool on_off = command->row && command->row->on_off && a.n_values;
    if (on_off && (r = on_off_first(&a, e)) < 0)
        return r;
    for (int i = 0; a.body && i < a.n_values && i < API_CLI_ARGS; i++)
        if (command->row->args[i] && !command_arg_in_path(command->row, i))
            body_set(a.body, command->row->args[i],
                     on_off && i == 0 ? json_boolean(str_eq(a.values[0], "on")) : json_string(a.values[i]));
    *ret = a;
    a = (struct args){0};
    return 0;
}

static bool body_has(const json_t *body, const char *path) {
    _cleanup_free_ char *copy = xstrdup(path);
    char *rest = copy;
    for (char *part; body && (part = strsep(&rest, "."));)
        body = json_object_get(body, part);
    return body != NULL;
}

static int required_missing(const struct api_cli_flag *f, struct error *e) {
    _cleanup_buf_ struct buf choices = {0};
    flag_choices(f, &choices);
    return error_set(e, ERR_INVALID, "--%s %s is missing%s%s", f->name, flag_metavar(f), choices.len ? ": " : "",
                     choices.len ? choices.data : "");
}

int args_check(const struct args *a, struct error *e) {
    const struct command *c = a->command;
    if (a->n_values < c->min_args) {
        return error_set(e, ERR_INVALID, "%s is missing; see tarn %s%s%s --help",
                         c->row && !c->usage ? "the name" : "an argument", c->object, *c->verb ? " " : "", c->verb);
    }
    for (const struct api_cli_flag *f = command_has_flags(c) ? c->row->flags : NULL; f && f->name; f++)
        if (f->required && !c->row->change && !body_has(a->body, f->path))
            return required_missing(f, e);
    if (c->row && c->row->change && a->body && json_object_size(a->body) == 0)
        return error_set(e, ERR_INVALID, "nothing to change: give the fields as options; see tarn %s %s --help",
                         c->object, c->verb);
    return 0;
}

/* The field of a list's element or of an embedded object is named by what it lies in: "addresses[0].address",
 * "ha.after[1]". */
static const struct api_cli_flag *flag_of_field(const struct command *c, const char *field, const char **ret_rest) {
    const struct api_cli_flag *best = NULL;
    size_t len = 0;
    for (const struct api_cli_flag *f = command_has_flags(c) ? c->row->flags : NULL; f && f->name; f++) {
        size_t n = strlen(f->path);
        if (n > len && strncmp(f->path, field, n) == 0 && (!field[n] || field[n] == '.' || field[n] == '[')) {
            best = f;
            len = n;
        }
    }
    *ret_rest = field + len + strspn(field + len, ".[]0123456789");
    return best;
}

static char *positional_name(const struct command *c, const char *field) {
    for (int i = 0; c->row && i < API_CLI_ARGS && c->row->args[i]; i++)
        if (str_eq(c->row->args[i], field)) {
            struct buf out = {0};
            command_arg_name(c->row, i, &out);
            return buf_take(&out);
        }
    return NULL;
}

char *args_field_name(const struct args *a, const struct command *c, const char *field, bool *ret_given) {
    const char *rest = "";
    *ret_given = true;
    if (!c || !*field)
        return xstrdup(field);
    const struct api_cli_flag *f = flag_of_field(c, field, &rest);
    const struct option *o = f ? NULL : command_option(c, field, 0);
    char *positional = f || o ? NULL : positional_name(c, field);
    if (f)
        *ret_given = f->type != API_CLI_BOOLEAN || f->array || body_has(a->body, f->path);
    else if (o)
        *ret_given = o->arg || args_has(a, field);
    if (f)
        return xasprintf("--%s%s%s", f->name, *rest ? " " : "", rest);
    if (o)
        return xasprintf("--%s", field);
    return positional ? positional : xstrdup(field);
}

const char *args_option(const struct args *a, const char *name) {
    const json_t *list = json_object_get(a->options, name);
    if (!list)
        return NULL;
    const json_t *last = json_array_get(list, json_array_size(list) - 1);
    return json_is_string(last) ? json_string_value(last) : "";
}

bool args_has(const struct args *a, const char *name) { return json_object_get(a->options, name) != NULL; }

int args_number(const struct args *a, const char *name, int64_t min, int64_t max, int64_t otherwise, int64_t *ret,
                struct error *e) {
    const char *text = args_option(a, name);
    if (!text) {
        *ret = otherwise;
        return 0;
    }
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (!*text || *end || errno || v < min || v > max)
        return error_set(e, ERR_INVALID, "--%s takes a whole number from %lld to %lld, not \"%s\"", name,
                         (long long)min, (long long)max, text);
    *ret = v;
    return 0;
}

enum output args_output(const struct args *a) {
    const char *s = args_option(a, "output");
    return str_eq(s, "json")   ? OUTPUT_JSON
           : str_eq(s, "yaml") ? OUTPUT_YAML
           : str_eq(s, "name") ? OUTPUT_NAME
                               : OUTPUT_TABLE;
}
