/* SPDX-License-Identifier: Apache-2.0 */
/* The generated section of the man page: every command with its options, as mdoc. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/flag.h"

#include <ctype.h>
#include <stdio.h>

#define TEMPLATE_MAX (1024 * 1024)
#define MARK         ".\\\" COMMANDS\n"

/* Text that roff takes as itself. */
static void roff(struct buf *out, const char *s) {
    if (*s == '.' || *s == '\'')
        buf_adds(out, "\\&");
    for (; *s; s++) {
        if (*s == '\\')
            buf_adds(out, "\\e");
        else if (*s == '-')
            buf_adds(out, "\\-");
        else
            buf_addc(out, *s);
    }
}

/* An argument of a macro: quoted. */
static void roff_arg(struct buf *out, const char *s) {
    buf_addc(out, '"');
    for (; *s; s++) {
        if (*s == '"')
            buf_adds(out, "\"\"");
        else if (*s == '\\')
            buf_adds(out, "\\e");
        else
            buf_addc(out, *s);
    }
    buf_addc(out, '"');
}

static void sentence(struct buf *out, const char *s) {
    size_t len = strlen(s);
    if (!len)
        return;
    roff(out, s);
    buf_adds(out, s[len - 1] == '.' ? "\n" : ".\n");
}

static void flag_item(struct buf *out, const struct api_cli_flag *f) {
    buf_adds(out, ".It Fl Fl ");
    if (f->type == API_CLI_BOOLEAN && !f->array)
        buf_addf(out, "%s , Fl Fl no-%s", f->name, f->name);
    else
        buf_addf(out, "%s Ar %s", f->name, flag_metavar(f));
    buf_addc(out, '\n');
    sentence(out, f->help);
    if (f->choices) {
        buf_adds(out, "One of");
        for (size_t i = 0; f->choices[i]; i++)
            buf_addf(out, "%s %s", i ? "," : "", f->choices[i]);
        buf_adds(out, ".\n");
    }
    struct buf usual = {0};
    flag_default(f, &usual);
    if (usual.len) {
        buf_adds(out, "Default: ");
        roff(out, usual.data);
        buf_adds(out, ".\n");
    }
    buf_done(&usual);
    for (const struct api_cli_flag *m = f->members; m && m->name; m++)
        buf_addf(out, "%s.Cm %s Ns = Ns Ar %s%s\n", m == f->members ? "Keys:\n" : "", m->name, flag_metavar(m),
                 m[1].name ? " ," : "");
}

static void option_items(struct buf *out, const struct option *o) {
    for (; o && o->name; o++) {
        buf_adds(out, ".It ");
        if (o->letter)
            buf_addf(out, "Fl %c , ", o->letter);
        buf_addf(out, "Fl Fl %s", o->name);
        if (o->arg) {
            buf_adds(out, " Ar ");
            roff_arg(out, o->arg);
        }
        buf_addc(out, '\n');
        sentence(out, o->help);
    }
}

static void command_section(struct buf *out, const struct command *c) {
    buf_adds(out, ".Ss tarn ");
    command_name(c, out);
    buf_adds(out, "\n.Nm\n.Cm ");
    command_name(c, out);
    buf_addc(out, '\n');
    if (c->usage) {
        buf_adds(out, ".Ar ");
        roff_arg(out, c->usage);
        buf_addc(out, '\n');
    }
    for (int i = 0; c->row && !c->usage && i < API_CLI_ARGS && c->row->args[i]; i++)
        buf_addf(out, ".Ar %s\n", i == 0 && c->row->on_off ? "on|off" : c->row->args[i]);
    buf_adds(out, ".Op Ar options\n.Pp\n");
    sentence(out, str_or(c->summary, ""));
    bool flags = command_has_flags(c) && c->row->flags->name, lists = c->row && c->row->list && !c->options;
    bool change = c->row && c->row->change, job = c->row && c->row->job;
    if (!flags && !lists && !change && !job && !c->options)
        return;
    buf_adds(out, ".Bl -tag -width Ds\n");
    for (const struct api_cli_flag *f = flags ? c->row->flags : NULL; f && f->name; f++)
        flag_item(out, f);
    option_items(out, c->options);
    option_items(out, lists ? options_list : NULL);
    option_items(out, change ? options_change : NULL);
    option_items(out, job ? options_wait : NULL);
    buf_adds(out, ".El\n");
}

/* The template (docs/man/tarn.1) with the commands where it marks the place. */
int manual_run(struct cli *cli, struct error *e) {
    _cleanup_free_ char *template = NULL;
    int r = input_read("-", TEMPLATE_MAX, &template, e);
    if (r < 0)
        return r;
    char *mark = strstr(template, MARK);
    if (!mark)
        return error_set(e, ERR_INVALID, "the template has no line %s", MARK);
    struct buf out = {0};
    buf_add(&out, template, (size_t)(mark - template));
    struct command c, found;
    for (size_t i = 0; command_at(i, &c); i++)
        if (c.object[0] != '_' && command_find(c.object, c.verb, &found))
            command_section(&out, &c);
    buf_adds(&out, mark + strlen(MARK));
    cli_write(out.data, out.len);
    buf_done(&out);
    return 0;
}
