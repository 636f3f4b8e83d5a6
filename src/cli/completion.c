/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion: the shell's part is a few lines that ask `tarn __complete WORDS`, which answers from the table and, for
 * names, from the manager: quickly or not at all.
 */
#include "cli/completion.h"
#include "api/api.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/text.h"

#include <stdio.h>

#define NAMES_MAX 500

static const char script[] = "# bash completion for tarn\n"
                             "_tarn() {\n"
                             "    local line quoted\n"
                             "    COMPREPLY=()\n"
                             "    while IFS= read -r line; do\n"
                             "        printf -v quoted '%q' \"$line\"\n"
                             "        COMPREPLY+=(\"$quoted\")\n"
                             "    done < <(tarn __complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
                             "}\n"
                             "complete -o bashdefault -o default -F _tarn tarn\n";

int completion_run(struct cli *cli, struct error *e) {
    if (!str_eq(cli->args.values[0], "bash"))
        return error_set(e, ERR_UNSUPPORTED, "completion is there for bash only");
    cli_write(script, strlen(script));
    return 0;
}

static void offer(json_t *out, const char *prefix, const char *word) {
    if (strncmp(word, prefix, strlen(prefix)) == 0)
        json_object_set_new(out, word, json_null());
}

static void offer_option(json_t *out, const char *prefix, const char *name) {
    _cleanup_free_ char *word = xasprintf("--%s", name);
    offer(out, prefix, word);
}

static void offer_options(json_t *out, const char *prefix, const struct command *c) {
    for (const struct api_cli_flag *f = command_has_flags(c) ? c->row->flags : NULL; f && f->name; f++) {
        offer_option(out, prefix, f->name);
        _cleanup_free_ char *negated = xasprintf("no-%s", f->name);
        if ((f->type == API_CLI_BOOLEAN || f->array) && strncmp(prefix, "--no-", 5) == 0)
            offer_option(out, prefix, negated);
    }
    const struct option *lists[] = {c->options, c->row && c->row->list && !c->options ? options_list : NULL,
                                    c->row && c->row->change ? options_change : NULL,
                                    c->row && c->row->job ? options_wait : NULL, options_global};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (const struct option *o = lists[i]; o && o->name; o++)
            offer_option(out, prefix, o->name);
}

/* Names of objects that the manager knows; silence where it cannot be asked. */
static void offer_names(struct cli *cli, json_t *out, const char *prefix, const char *kind) {
    int k = kind ? api_kind_from_text(kind) : -1;
    if (k < 0 || !cli || (!cli->http && cli_connect(cli, NULL) < 0) || !cli->http)
        return;
    _cleanup_json_ json_t *list = NULL;
    _cleanup_free_ char *filter = strpbrk(prefix, ",=~!") || !*prefix ? NULL : xasprintf("name~%s", prefix);
    if (engine_list(cli, api_kinds[k].plural, filter, NULL, "id,name", NAMES_MAX, &list, NULL) < 0)
        return;
    size_t i;
    json_t *object;
    json_array_foreach(list, i, object) offer(out, prefix, str_or(json_str(object, "name"), json_str(object, "id")));
}

static void offer_flag_values(struct cli *cli, json_t *out, const char *prefix, const struct api_cli_flag *f) {
    for (size_t i = 0; f->choices && f->choices[i]; i++)
        offer(out, prefix, f->choices[i]);
    if (f->ref)
        offer_names(cli, out, prefix, f->ref);
    /* KEY=VALUE,KEY=… : the shell has split at the equals sign, so only the keys remain. */
    for (const struct api_cli_flag *m = f->members; m && m->name; m++) {
        _cleanup_free_ char *key = xasprintf("%s=", m->name);
        offer(out, prefix, key);
    }
}

static void offer_verbs(json_t *out, const char *prefix, const char *object) {
    struct command c;
    for (size_t i = 0; command_at(i, &c); i++) {
        struct command found;
        if (str_eq(c.object, object) && command_find(object, c.verb, &found))
            offer(out, prefix, c.verb);
    }
}

static void offer_objects(json_t *out, const char *prefix) {
    struct command c;
    for (size_t i = 0; command_at(i, &c); i++)
        if (c.object[0] != '_')
            offer(out, prefix, c.object);
}

/* Whether the word before takes the current one as its value; then its values are offered. */
static bool after_option(struct cli *cli, json_t *out, const struct command *c, const char *before,
                         const char *prefix) {
    static const char *const formats[] = {"table", "json", "yaml", "name"};
    if (before[0] != '-' || str_eq(before, "--"))
        return false;
    const char *name = before[1] == '-' ? before + 2 : NULL;
    const struct api_cli_flag *f = name ? command_flag(c, name) : NULL;
    const struct option *o = f ? NULL : command_option(c, name, name ? 0 : before[1]);
    if (f && f->type == API_CLI_BOOLEAN && !f->array)
        return false;
    if (f)
        offer_flag_values(cli, out, prefix, f);
    for (size_t i = 0; o && str_eq(o->name, "output") && i < ARRAY_LEN(formats); i++)
        offer(out, prefix, formats[i]);
    return f || (o && o->arg);
}

/* The reference that stands at the n-th position, or NULL. */
static const char *position_kind(const struct command *c, int n) {
    if (!c->row)
        return str_eq(c->object, "vm") && n == 0 ? "vm" : str_eq(c->object, "job") && n == 0 ? "job" : NULL;
    /* A parameter of the path has the name of the kind that it takes. */
    return n < API_CLI_ARGS && c->row->args[n] && command_arg_in_path(c->row, n) ? c->row->args[n] : NULL;
}

static int positions_before(const struct command *c, int n, char *const *words) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (words[i][0] != '-') {
            count++;
            continue;
        }
        const char *name = words[i][1] == '-' ? words[i] + 2 : NULL;
        const struct api_cli_flag *f = name ? command_flag(c, name) : NULL;
        const struct option *o = f ? NULL : command_option(c, name, name ? 0 : words[i][1]);
        if ((f && f->type != API_CLI_BOOLEAN) || (o && o->arg))
            i++;
    }
    return count;
}

json_t *complete_words(struct cli *cli, int n, char *const *words) {
    json_t *out = json_object();
    const char *prefix = n ? words[n - 1] : "";
    if (n <= 1) {
        offer_objects(out, prefix);
        return out;
    }
    const char *object = object_find(words[0]);
    struct command c;
    if (!object)
        return out;
    bool alone = command_find(object, "", &c);
    if (str_eq(object, "help")) {
        if (n == 2)
            offer_objects(out, prefix);
        else if (object_find(words[1]))
            offer_verbs(out, prefix, object_find(words[1]));
        return out;
    }
    if (!alone && n == 2) {
        offer_verbs(out, prefix, object);
        return out;
    }
    if (!alone && !command_find(object, words[1], &c))
        return out;
    int first = alone ? 1 : 2;
    const char *before = n - 2 >= first ? words[n - 2] : "";
    if (str_eq(before, "=") && n - 3 >= first)
        before = words[n - 3];
    if (str_eq(prefix, "="))
        prefix = "";
    if (after_option(cli, out, &c, before, prefix))
        return out;
    if (prefix[0] == '-')
        offer_options(out, prefix, &c);
    else if (str_eq(object, "completion"))
        offer(out, prefix, "bash");
    else
        offer_names(cli, out, prefix, position_kind(&c, positions_before(&c, n - 1 - first, words + first)));
    return out;
}

int complete_print(struct cli *cli, int n, char *const *words) {
    _cleanup_json_ json_t *out = complete_words(cli, n, words);
    const char *word;
    json_t *value;
    json_object_foreach(out, word, value) {
        _cleanup_free_ char *safe = text_safe(word);
        cli_write(safe, strlen(safe));
        cli_write("\n", 1);
    }
    return 0;
}
