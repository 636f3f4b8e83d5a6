/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/completion.h"
#include "cli/stream.h"
#include "cli/terminal.h"
#include "cli/text.h"

#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- errors ---- */

static const char *hint_of(const struct cli *cli, const struct error *e) {
    switch (e->code) {
    case ERR_UNAUTHENTICATED:
        return str_empty(cli->profile.token) ? "sign in first: tarn login URL"
                                             : "the session has ended or the token is no longer valid: tarn login";
    case ERR_FORBIDDEN:
        return "your role does not allow it; see tarn session show";
    case ERR_STALE:
        return "it was changed meanwhile: show it again, then repeat with its new revision";
    case ERR_READ_ONLY:
        return "the manager takes no changes now; see tarn manager show";
    default:
        return NULL;
    }
}

/* Messages do not repeat the field's name as a rule; one that begins with it has it replaced. */
static void report_text(const struct cli *cli, const struct command *c, const struct error *e, const char *message) {
    struct buf name = {0};
    if (c)
        command_name(c, &name);
    _cleanup_free_ char *safe = text_safe_lines(message), *field = text_safe(e->field ? e->field : "");
    bool given;
    _cleanup_free_ char *option = args_field_name(&cli->args, c, field, &given);
    size_t n = strlen(field);
    bool twice = n && strncmp(safe, field, n) == 0 && strchr(" :,", safe[n]), first = twice || (n && given);
    fprintf(stderr, "tarn: %s%s%s%s%s", name.data ? name.data : "", name.len ? ": " : "", first ? option : "",
            first && !twice ? ": " : "", safe + (twice ? n : 0));
    /* The message may say itself which option it is about. */
    if (n && !first && !strstr(safe, option))
        fprintf(stderr, " (%s)", option);
    fputc('\n', stderr);
    buf_done(&name);
}

static int report(const struct cli *cli, const struct command *c, const struct error *e) {
    struct buf name = {0};
    if (c)
        command_name(c, &name);
    const char *hint = c && !str_eq(c->object, "login") ? hint_of(cli, e) : NULL,
               *message = str_or(e->message, "failed");
    if (cli->output == OUTPUT_JSON) {
        _cleanup_json_ json_t *j = error_print(e);
        json_set_str(j, "command", name.data);
        json_set_int(j, "exit_code", error_exit_code(e->code));
        if (hint)
            json_set_str(j, "hint", hint);
        _cleanup_free_ char *text = json_text(j);
        struct buf out = {0};
        text_escape_json(&out, text, strlen(text));
        fprintf(stderr, "%s\n", out.data);
        buf_done(&out);
    } else {
        report_text(cli, c, e, message);
        if (hint)
            fprintf(stderr, "tarn: %s\n", hint);
    }
    buf_done(&name);
    return error_exit_code(e->code);
}

/* ---- running a command ---- */

static size_t terminal_columns(void) {
    struct winsize w;
    if (!isatty(STDOUT_FILENO))
        return 0;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 40 ? w.ws_col : 80;
}

/* A password that a new object needs is asked for where there is somebody to ask. */
static int passwords_ask(struct cli *cli, const struct command *c, struct error *e) {
    for (const struct api_cli_flag *f = command_has_flags(c) ? c->row->flags : NULL; f && f->name; f++) {
        if (!f->required || !str_eq(f->path, "password") || json_object_get(cli->args.body, "password") ||
            !terminal_can_ask())
            continue;
        _cleanup_free_ char *first = NULL, *second = NULL;
        int r = terminal_ask_secret("New password", &first, e);
        if (r >= 0)
            r = terminal_ask_secret("The same again", &second, e);
        if (r >= 0 && !str_eq(first, second))
            r = error_set(e, ERR_INVALID, "the two passwords differ");
        if (r < 0)
            return r;
        body_set(cli->args.body, f->path, json_string(first));
    }
    return 0;
}

static int run(struct cli *cli, const struct command *c, int argc, char **argv, struct error *e) {
    int r = args_parse(c, argc, argv, &cli->args, e);
    if (r < 0)
        return r;
    cli->output = args_output(&cli->args);
    cli->quiet = args_has(&cli->args, "quiet");
    cli->verbose = args_has(&cli->args, "verbose");
    cli->dry_run = args_has(&cli->args, "dry-run");
    if (cli->args.help) {
        struct buf out = {0};
        help_command(c, &out, cli->width);
        cli_write(out.data, out.len);
        buf_done(&out);
        return 0;
    }
    if ((r = passwords_ask(cli, c, e)) < 0 || (r = args_check(&cli->args, e)) < 0)
        return r;
    const struct special *special = special_find(c->object, c->verb);
    if (special && !special->connect)
        return special->run(cli, e);
    if ((r = cli_connect(cli, e)) < 0 || (!cli->dry_run && (r = engine_resolve(cli, e)) < 0))
        return r;
    return special ? special->run(cli, e) : engine_run(cli, e);
}

/* The object, without its verb or with one that it does not have. */
static int incomplete(struct cli *cli, const char *object, const char *verb, struct error *e) {
    if (!verb || str_eq(verb, "--help") || str_eq(verb, "-h") || str_eq(verb, "help")) {
        struct buf out = {0};
        help_object(object, &out, cli->width);
        fwrite(out.data, 1, out.len, verb ? stdout : stderr);
        buf_done(&out);
        return verb ? 0 : 2;
    }
    const char *verbs[64];
    size_t n = 0;
    struct command c;
    for (size_t i = 0; command_at(i, &c) && n < ARRAY_LEN(verbs); i++)
        if (str_eq(c.object, object) && *c.verb)
            verbs[n++] = c.verb;
    const char *near = text_nearest(verb, verbs, n);
    if (near)
        return error_set(e, ERR_INVALID, "%s has no command \"%s\"; did you mean tarn %s %s?", object, verb, object,
                         near);
    return error_set(e, ERR_INVALID, "%s has no command \"%s\"; see tarn %s --help", object, verb, object);
}

static int unknown_object(const char *text, struct error *e) {
    const char *objects[128];
    size_t n = 0;
    struct command c;
    for (size_t i = 0; command_at(i, &c) && n < ARRAY_LEN(objects); i++)
        objects[n++] = c.object;
    const char *near = text_nearest(text, objects, n);
    if (near)
        return error_set(e, ERR_INVALID, "there is no command \"%s\"; did you mean tarn %s?", text, near);
    return error_set(e, ERR_INVALID, "there is no command \"%s\"; see tarn help", text);
}

/* Global options may stand before the command: their number of words, 0 where argv[at] is none. */
static int leading_option(int argc, char **argv, int at) {
    const char *text = argv[at];
    if (text[0] != '-' || !text[1])
        return 0;
    const struct command none = {.object = "", .verb = ""};
    const struct option *o = text[1] == '-' ? command_option(&none, text + 2, 0) : command_option(&none, NULL, text[1]);
    if (!o && text[1] == '-' && strchr(text, '='))
        return 1;
    return o && o->arg && (text[1] == '-' || !text[2]) && at + 1 < argc ? 2 : 1;
}

static int dispatch(struct cli *cli, int argc, char **argv, const struct command **ret_command, struct error *e) {
    static struct command command;
    int at = 1, n = 0;
    char **rest = xcalloc((size_t)argc + 1, sizeof *rest);
    for (int words; at < argc && (words = leading_option(argc, argv, at)) > 0;) {
        if (str_eq(argv[at], "--version")) {
            free(rest);
            printf("tarn %s\n", TARN_VERSION);
            return 0;
        }
        while (words--)
            rest[n++] = argv[at++];
    }
    const char *object = at < argc ? object_find(argv[at]) : NULL, *verb = at + 1 < argc ? argv[at + 1] : NULL;
    int r;
    if (at >= argc) {
        struct buf out = {0};
        help_overview(&out, cli->width);
        fwrite(out.data, 1, out.len, n ? stdout : stderr);
        buf_done(&out);
        r = n ? 0 : 2;
    } else if (!object) {
        r = unknown_object(argv[at], e);
    } else if (command_find(object, "", &command) || (verb && command_find(object, verb, &command))) {
        *ret_command = &command;
        for (at += *command.verb ? 2 : 1; at < argc; at++)
            rest[n++] = argv[at];
        r = run(cli, &command, n, rest, e);
    } else {
        r = incomplete(cli, object, verb, e);
    }
    free(rest);
    return r;
}

/* Errors are JSON for whoever asked for JSON, also when the arguments could not be read to the end. */
static bool wants_json(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (str_eq(argv[i], "--output=json") || str_eq(argv[i], "-ojson") ||
            ((str_eq(argv[i], "-o") || str_eq(argv[i], "--output")) && i + 1 < argc && str_eq(argv[i + 1], "json")))
            return true;
    return false;
}

int main(int argc, char **argv) {
    text_init();
    signal(SIGPIPE, SIG_IGN);
    _cleanup_error_ struct error error = ERROR_INIT;
    struct cli cli = {.tty_out = isatty(STDOUT_FILENO), .tty_err = isatty(STDERR_FILENO), .width = terminal_columns()};
    cli.colour = cli.tty_out && str_empty(getenv("NO_COLOR")) && !str_eq(getenv("TERM"), "dumb");
    cli.output = wants_json(argc, argv) ? OUTPUT_JSON : OUTPUT_TABLE;
    const struct command *command = NULL;
    int r = argc > 1 && str_eq(argv[1], "__complete") ? complete_print(&cli, argc - 2, argv + 2)
                                                      : dispatch(&cli, argc, argv, &command, &error);
    cli_flush();
    terminal_restore();
    if (r < 0)
        r = report(&cli, command, &error);
    cli_ws_free();
    http_free(cli.http);
    args_done(&cli.args);
    for (int i = 0; i < API_CLI_ARGS; i++)
        free(cli.ids[i]);
    profile_done(&cli.profile);
    url_done(&cli.url);
    return r;
}
