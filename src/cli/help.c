/* SPDX-License-Identifier: Apache-2.0 */
/* Help from the table: the same rows that the engine obeys, so that it cannot be wrong. */
#include "base/mem.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/flag.h"
#include "cli/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define WIDTH_DEFAULT 100
#define WIDTH_MAX     120
#define INDENT        2
#define LEFT_MAX      34 /* a longer left column gets a line of its own */

static size_t usable(size_t width) { return !width ? WIDTH_DEFAULT : width > WIDTH_MAX ? WIDTH_MAX : width; }

/* One entry of two columns. */
static void entry(struct buf *out, const char *left, const char *right, size_t column, size_t width) {
    text_pad(out, INDENT);
    buf_adds(out, left);
    size_t used = INDENT + text_width(left);
    if (*right) {
        if (used + 2 > column) {
            buf_addc(out, '\n');
            used = 0;
        }
        text_pad(out, column - used);
        text_wrap(out, right, column, width);
    }
    buf_addc(out, '\n');
}

/* In the order in which the overview shows them. */
static const struct {
    const char *object, *title;
} titles[] = {
    {"vm", "virtual machines"},
    {"template", "what virtual machines are made from"},
    {"disk", "virtual disks"},
    {"iso", "images of CDs and DVDs"},
    {"repository", "storage repositories"},
    {"upload", "files on their way into a repository"},
    {"server", "servers that run virtual machines"},
    {"pool", "servers among which virtual machines are placed, moved and restarted"},
    {"rule", "which virtual machines run together, apart, or on which servers"},
    {"job", "changes under way, and their history"},
    {"alarm", "what needs somebody now"},
    {"event", "what happened, and who did it"},
    {"user", "who may sign in"},
    {"token", "API tokens and sessions"},
    {"session", "your own session"},
    {"manager", "the manager itself"},
    {"profile", "managers that this command line knows"},
};

static const char *object_title(const char *object) {
    for (size_t i = 0; i < ARRAY_LEN(titles); i++)
        if (str_eq(titles[i].object, object))
            return titles[i].title;
    return "";
}

static bool hidden(const struct command *c) {
    return c->object[0] == '_' || (c->row && c->row->special && !special_find(c->object, c->verb));
}

/* "list, show, start" */
static void verbs_of(const char *object, struct buf *out) {
    struct command c;
    for (size_t i = 0; command_at(i, &c); i++)
        if (str_eq(c.object, object) && *c.verb && !hidden(&c))
            buf_addf(out, "%s%s", out->len ? ", " : "", c.verb);
}

static bool object_seen_before(size_t at, const char *object) {
    struct command c;
    for (size_t i = 0; i < at && command_at(i, &c); i++)
        if (str_eq(c.object, object))
            return true;
    return false;
}

static void object_entry(const char *object, struct buf *out, size_t width) {
    struct buf verbs = {0};
    verbs_of(object, &verbs);
    if (verbs.len)
        entry(out, object, verbs.data, 14, width);
    buf_done(&verbs);
}

void help_overview(struct buf *out, size_t width) {
    width = usable(width);
    buf_adds(out, "tarn: servers, storage and virtual machines\n\n"
                  "Usage: tarn OBJECT VERB [NAME] [--options]\n\nObjects and what can be done with them:\n");
    struct command c;
    for (size_t i = 0; i < ARRAY_LEN(titles); i++)
        object_entry(titles[i].object, out, width);
    for (size_t i = 0; command_at(i, &c); i++)
        if (*c.verb && !hidden(&c) && !*object_title(c.object) && !object_seen_before(i, c.object))
            object_entry(c.object, out, width);
    buf_adds(out, "\nOther commands:\n");
    for (size_t i = 0; command_at(i, &c); i++)
        if (!*c.verb && !hidden(&c))
            entry(out, c.object, c.summary, 14, width);
    buf_adds(out, "\nOptions of every command:\n");
    for (const struct option *o = options_global; o->name; o++) {
        _cleanup_free_ char *left =
            o->letter ? xasprintf("-%c, --%s%s%s", o->letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "")
                      : xasprintf("    --%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        entry(out, left, o->help, 26, width);
    }
    buf_adds(out, "\nBegin with:  tarn login https://HOST:8443\n"
                  "More:        tarn OBJECT --help, tarn OBJECT VERB --help, tarn help exit-codes\n");
}

void help_object(const char *object, struct buf *out, size_t width) {
    width = usable(width);
    const char *title = object_title(object);
    buf_addf(out, "tarn %s%s%s\n\nUsage: tarn %s VERB [NAME] [--options]\n\n", object, *title ? ": " : "", title,
             object);
    struct command c;
    for (size_t i = 0; command_at(i, &c); i++)
        if (str_eq(c.object, object) && !hidden(&c))
            entry(out, c.verb, str_or(c.summary, ""), 14, width);
    buf_addf(out, "\nMore: tarn %s VERB --help\n", object);
}

static void usage_line(const struct command *c, struct buf *out) {
    buf_adds(out, "Usage: tarn ");
    command_name(c, out);
    if (c->usage) {
        buf_addf(out, " %s", c->usage);
    } else if (c->row && c->max_args) {
        for (int i = 0; i < API_CLI_ARGS && c->row->args[i]; i++) {
            buf_addc(out, ' ');
            if (i == 0 && c->row->on_off) {
                buf_adds(out, "on|off");
                continue;
            }
            command_arg_name(c->row, i, out);
        }
    }
    buf_adds(out, " [--options]\n\n");
}

static void limit_text(const struct api_cli_flag *f, int64_t value, struct buf *out) {
    char size[SIZE_TEXT_MAX], seconds[SECONDS_TEXT_MAX];
    if (f->type == API_CLI_SIZE)
        buf_adds(out, size_format(value, size));
    else if (f->type == API_CLI_SECONDS)
        buf_adds(out, seconds_format(value, seconds));
    else
        buf_addf(out, "%" PRId64, value);
}

/* One more fact in the brackets after the description. */
static void fact(struct buf *facts, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fact(struct buf *facts, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    buf_adds(facts, facts->len ? "; " : "");
    buf_vaddf(facts, fmt, ap);
    va_end(ap);
}

/* What the API says of the flag: its meaning, choices, limits, default. */
static void flag_describe(const struct api_cli_flag *f, struct buf *out, bool key) {
    struct buf facts = {0}, text = {0};
    buf_adds(out, f->help);
    for (size_t i = 0; f->choices && f->choices[i]; i++)
        buf_addf(&text, "%s%s", i ? ", " : "", f->choices[i]);
    if (text.len)
        fact(&facts, "%s", text.data);
    buf_done(&text);
    if ((f->min || f->max) && (f->type == API_CLI_INTEGER || f->type == API_CLI_SIZE || f->type == API_CLI_SECONDS)) {
        limit_text(f, f->min, &text);
        buf_adds(&text, " to ");
        limit_text(f, f->max, &text);
        fact(&facts, "%s", text.data);
        buf_done(&text);
    }
    if (f->array && f->type != API_CLI_OBJECT)
        fact(&facts, key ? "several with + between" : "may be repeated, or with commas");
    flag_default(f, &text);
    if (text.len)
        fact(&facts, "default %s", text.data);
    buf_done(&text);
    if (f->required)
        fact(&facts, "required");
    if (facts.len)
        buf_addf(out, out->len ? " (%s)" : "%s", facts.data);
    buf_done(&facts);
}

static void flag_entry(const struct api_cli_flag *f, bool change, struct buf *out, size_t width) {
    struct buf left = {0}, right = {0};
    if (f->type == API_CLI_BOOLEAN && !f->array)
        buf_addf(&left, "--[no-]%s", f->name);
    else
        buf_addf(&left, "--%s %s", f->name, flag_metavar(f));
    flag_describe(f, &right, false);
    if (f->array && change)
        buf_addf(&right, "%sreplaces the whole list: give all that is to be in it (--no-%s: nothing)",
                 right.len ? "; " : "", f->name);
    if (f->members)
        buf_addf(&right, "%s%s:", right.len ? "; " : "", f->array ? "may be repeated; keys" : "keys");
    entry(out, left.data, right.data ? right.data : "", LEFT_MAX, width);
    for (const struct api_cli_flag *m = f->members; m && m->name; m++) {
        struct buf key = {0}, text = {0};
        buf_addf(&key, "    %s=%s", m->name, flag_metavar(m));
        flag_describe(m, &text, true);
        entry(out, key.data, text.data ? text.data : "", LEFT_MAX, width);
        buf_done(&key);
        buf_done(&text);
    }
    buf_done(&left);
    buf_done(&right);
}

static void option_entries(const struct option *o, struct buf *out, size_t width) {
    for (; o && o->name; o++) {
        struct buf left = {0};
        if (o->letter)
            buf_addf(&left, "-%c, ", o->letter);
        buf_addf(&left, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        entry(out, left.data, o->help, LEFT_MAX, width);
        buf_done(&left);
    }
}

void help_command(const struct command *c, struct buf *out, size_t width) {
    width = usable(width);
    usage_line(c, out);
    if (c->summary) {
        text_wrap(out, c->summary, 0, width);
        buf_adds(out, ".\n\n");
    }
    if (command_has_flags(c) && c->row->flags->name) {
        buf_adds(out, c->row->change ? "What to change:\n" : "Options:\n");
        for (const struct api_cli_flag *f = c->row->flags; f->name; f++)
            flag_entry(f, c->row->change, out, width);
        buf_addc(out, '\n');
    }
    const struct option *own[] = {c->options, c->row && c->row->list && !c->options ? options_list : NULL,
                                  c->row && c->row->change ? options_change : NULL,
                                  c->row && c->row->job ? options_wait : NULL};
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (!own[i])
            continue;
        if (!any)
            buf_adds(out, command_has_flags(c) && c->row->flags->name ? "And:\n" : "Options:\n");
        any = true;
        option_entries(own[i], out, width);
    }
    if (any)
        buf_addc(out, '\n');
    if (c->more)
        buf_addf(out, "%s\n\n", c->more);
    buf_adds(out, "Options of every command:\n");
    option_entries(options_global, out, width);
}

void help_exit_codes(struct buf *out) {
    static const struct {
        int code;
        const char *meaning;
    } codes[] = {
        {0, "done; for a job: it ended well"},
        {1, "a fault of Tarn's, of the hypervisor or of a disk"},
        {2, "the command or the request is wrong"},
        {3, "there is no such object"},
        {4, "not signed in, or the role does not allow it"},
        {5, "in conflict with the state of things: the name is taken, others use it, it changed meanwhile"},
        {6, "not now: no connection, no space, no capacity, a time-out, too many requests"},
        {7, "the job was aborted"},
        {EXIT_INTERRUPTED, "interrupted with Ctrl-C; a job goes on"},
    };
    buf_adds(out, "Exit codes, and the error codes of the API that lead to them:\n\n");
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct buf names = {0};
        for (enum error_code c = ERR_OK + 1; c < ERR_COUNT_; c++)
            if (error_exit_code(c) == codes[i].code)
                buf_addf(&names, "%s%s", names.len ? ", " : "", error_code_text(c));
        buf_addf(out, "%5d  %s\n", codes[i].code, codes[i].meaning);
        if (names.len)
            buf_addf(out, "       (%s)\n", names.data);
        buf_done(&names);
    }
}

int help_run(struct cli *cli, struct error *e) {
    const struct args *a = &cli->args;
    _cleanup_buf_ struct buf out = {0};
    const char *object = a->n_values ? object_find(a->values[0]) : NULL;
    struct command c;
    if (!a->n_values)
        help_overview(&out, cli->width);
    else if (str_eq(a->values[0], "exit-codes"))
        help_exit_codes(&out);
    else if (!object)
        return error_set(e, ERR_INVALID, "there is no command \"%s\"; see tarn help", a->values[0]);
    else if (command_find(object, a->n_values > 1 ? a->values[1] : "", &c))
        help_command(&c, &out, cli->width);
    else if (a->n_values > 1)
        return error_set(e, ERR_INVALID, "%s has no command \"%s\"; see tarn %s --help", object, a->values[1], object);
    else
        help_object(object, &out, cli->width);
    cli_write(out.data, out.len);
    return 0;
}
