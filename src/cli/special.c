/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that have code of their own, and the list of all commands. */
#include "api/api.h"
#include "base/mem.h"
#include "cli/cli.h"

static const struct option login_options[] = {
    {"user", "USER", "the user's name; asked for if left out", 0},
    {"password-file", "FILE",
     "read the password from the first line of FILE (- for the standard input) instead of asking", 0},
    {"token-file", "FILE", "use the API token in FILE instead of a user and a password", 0},
    {"ca", "FILE", "the manager's CA certificate in PEM form", 0},
    {"fingerprint", "SHA256", "trust the CA that the manager presents if it has this SHA-256 fingerprint", 0},
    {0},
};
static const struct option import_options[] = {
    {"disk", "FILE",
     "a disk image: qcow2, raw, VMDK, VDI, VHDX or VHD; server:/PATH is a file on the repository's server", 0},
    {"format", "FORMAT", "the disk image's format; default: found out", 0},
    {"kernel", "FILE", "a kernel to boot directly (also server:/PATH)", 0},
    {"initrd", "FILE", "its initramfs (also server:/PATH)", 0},
    {"resume", "UPLOAD", "go on with an upload that was interrupted; may be repeated", 0},
    {"keep-uploads", NULL, "leave complete uploads in the repository when the import fails", 0},
    {0},
};
static const struct option disk_import_options[] = {
    {"format", "FORMAT", "the image's format; default: found out", 0},
    {"resume", "UPLOAD", "go on with an upload that was interrupted", 0},
    {"keep-uploads", NULL, "leave a complete upload in the repository when the import fails", 0},
    {0},
};
static const struct option iso_import_options[] = {
    {"resume", "UPLOAD", "go on with an upload that was interrupted", 0},
    {"keep-uploads", NULL, "leave a complete upload in the repository when the import fails", 0},
    {0},
};
static const struct option console_options[] = {
    {"until", "TEXT", "end with exit code 0 as soon as the guest has written TEXT", 0},
    {"timeout", "SECONDS", "end after this time: exit code 6 with --until, 0 without", 0},
    {"send", "TEXT", "send TEXT and a line's end as soon as the console is open", 0},
    {0},
};
static const struct option vnc_options[] = {
    {"listen", "ADDRESS:PORT", "where to listen, on loopback only; default 127.0.0.1 and a free port", 0},
    {"once", NULL, "end when the first viewer leaves", 0},
    {0},
};
static const struct option event_options[] = {
    {"follow", NULL, "go on with the events that come", 'f'},
    {"filter", "FILTER",
     "FIELD=VALUE, FIELD!=VALUE, FIELD~TEXT, FIELD<VALUE or FIELD>VALUE, comma-separated; all must hold", 0},
    {"sort", "FIELD", "sort by a field; -FIELD for descending", 0},
    {"limit", "N", "at most N events; default 100, with --follow 10", 0},
    {"fields", "FIELDS", "comma-separated fields to show", 0},
    {0},
};
static const struct option alarm_options[] = {
    {"all", NULL, "also those that have ended", 0},
    {"filter", "FILTER",
     "FIELD=VALUE, FIELD!=VALUE, FIELD~TEXT, FIELD<VALUE or FIELD>VALUE, comma-separated; all must hold", 0},
    {"sort", "FIELD", "sort by a field; -FIELD for descending", 0},
    {"limit", "N", "at most N alarms; default all", 0},
    {"fields", "FIELDS", "comma-separated fields to show", 0},
    {0},
};
static const struct option stream_options[] = {
    {"kinds", "KINDS", "comma-separated kinds of objects; default all", 0},
    {"since", "REVISION", "begin after this revision instead of now", 0},
    {"count", "N", "end after N messages", 0},
    {0},
};

/* Whoever asks for a list must not get a secret of that name. */
static bool is_other_verb(const char *text) {
    static const char *const verbs[] = {"list", "ls", "show", "delete", "rm", "remove", "revoke", "set", "help"};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (str_eq(verbs[i], text))
            return true;
    return false;
}

/* NAME alone is how it was written once; it says for whom the token is, and binds nobody. */
static int server_token_run(struct cli *cli, struct error *e) {
    const struct args *a = &cli->args;
    bool create = a->n_values > 0 && str_eq(a->values[0], "create");
    const char *name = !create ? a->values[0] : a->n_values > 1 ? a->values[1] : "join";
    if (!name || (!create && a->n_values > 1))
        return error_set(e, ERR_INVALID, "write: tarn server token create [NAME]");
    if (!create && is_other_verb(name))
        return error_set(e, ERR_INVALID,
                         "tokens are shown and taken back with tarn token list and tarn token delete; here one is "
                         "made: tarn server token create [NAME]");
    json_set_str(a->body, "name", name);
    return engine_run(cli, e);
}

/* The manager's is in tarn manager show. */
static int version_run(struct cli *cli, struct error *e) {
    cli_write("tarn " TARN_VERSION "\n", sizeof "tarn " TARN_VERSION "\n" - 1);
    return 0;
}

const struct special specials[] = {
    {{.object = "server",
      .verb = "token",
      .usage = "create [NAME]",
      .body = true,
      .max_args = 2,
      .more = "The answer is the line to join with, on the server: tarn-agent join. NAME is for you, to tell tokens "
              "apart; the server\n"
              "joins under a name of its own. tarn server token NAME does the same.\n\n"
              "  tarn server token create\n"
              "  tarn server token create rack7 --uses 20 --lifetime 1h"},
     server_token_run,
     true},
    {{.object = "login",
      .verb = "",
      .summary = "Sign in to a manager and remember it",
      .usage = "[URL]",
      .options = login_options,
      .max_args = 1,
      .more = "At the first contact the fingerprint of the manager's CA is shown and has to be confirmed; scripts give "
              "it with\n"
              "--fingerprint, or the certificate itself with --ca. Later connections are always verified against that "
              "CA.\n\n"
              "  tarn login https://manager.example:8443 --user admin\n"
              "  tarn login https://127.0.0.1:8443 --ca ca.pem --user admin --password-file password"},
     login_run,
     false},
    {{.object = "logout", .verb = "", .summary = "Sign out and forget the token"}, logout_run, false},
    {{.object = "profile", .verb = "list", .summary = "List the managers that are known"}, profile_list_run, false},
    {{.object = "template",
      .verb = "import",
      .options = import_options,
      .body = true,
      .min_args = 1,
      .max_args = 1,
      .more = "The files are sent to the manager; a break is made good by going on where it happened. Then a job makes "
              "the template.\n\n"
              "  tarn template import debian --disk debian-12-genericcloud-amd64.qcow2\n"
              "  tarn template import tiny --kernel vmlinuz --initrd initrd.img --cmdline console=ttyS0\n"
              "  tarn template import golden --from-vm web1"},
     import_run,
     true},
    {{.object = "disk",
      .verb = "import",
      .summary = "Make a virtual disk from an image",
      .usage = "FILE [NAME]",
      .options = disk_import_options,
      .as = "create",
      .body = true,
      .min_args = 1,
      .max_args = 2,
      .more =
          "FILE is a disk image (qcow2, raw, VMDK, VDI, VHDX or VHD) here, or server:/PATH on the repository's server. "
          "The name is\n"
          "the file's unless another is given.\n\n"
          "  tarn disk import appliance.vmdk data --size 40GiB"},
     import_disk_run,
     true},
    {{.object = "iso",
      .verb = "import",
      .usage = "FILE [NAME]",
      .options = iso_import_options,
      .body = true,
      .min_args = 1,
      .max_args = 2,
      .more = "FILE is here, or server:/PATH on the repository's server. The name is the file's unless another is "
              "given.\n\n"
              "  tarn iso import debian-12.8.0-amd64-netinst.iso\n"
              "  tarn vm create new --cdrom debian-12.8.0-amd64-netinst --disk size=20GiB --start"},
     import_iso_run,
     true},
    {{.object = "vm",
      .verb = "console",
      .summary = "Use the serial console of a virtual machine",
      .options = console_options,
      .min_args = 1,
      .max_args = 1,
      .more = "Ctrl-] leaves the console; the guest goes on. When the standard input is no terminal, what comes from "
              "there is sent and\n"
              "what the guest writes is printed, for scripts:\n\n"
              "  tarn vm console hello --until 'login:' --timeout 60 < /dev/null"},
     console_run,
     true},
    {{.object = "vm",
      .verb = "vnc",
      .summary = "Open a local port for a VNC viewer to the display of a virtual machine",
      .usage = "VM",
      .options = vnc_options,
      .min_args = 1,
      .max_args = 1,
      .more = "  tarn vm vnc hello --listen 127.0.0.1:5901     and then: vncviewer 127.0.0.1:5901"},
     vnc_run,
     true},
    {{.object = "job",
      .verb = "watch",
      .summary = "Follow a job until it ends; the exit code tells how",
      .usage = "JOB",
      .min_args = 1,
      .max_args = 1},
     job_watch_run,
     true},
    {{.object = "event",
      .verb = "list",
      .options = event_options,
      .more = "  tarn event list --filter severity!=info\n  tarn event list --follow"},
     event_list_run,
     true},
    {{.object = "alarm",
      .verb = "list",
      .summary = "List the alarms that are active, newest first",
      .options = alarm_options,
      .more = "  tarn alarm list --filter severity=error\n  tarn alarm list --all"},
     alarm_list_run,
     true},
    {{.object = "stream",
      .verb = "",
      .summary = "Print changes of objects as they happen, one JSON object a line",
      .options = stream_options},
     stream_run,
     true},
    {{.object = "completion",
      .verb = "",
      .summary = "Print the completion script for a shell",
      .usage = "bash",
      .min_args = 1,
      .max_args = 1,
      .more = "  source <(tarn completion bash)"},
     completion_run,
     false},
    {{.object = "version", .verb = "", .summary = "Print the version of this command line"}, version_run, false},
    {{.object = "help",
      .verb = "",
      .summary = "Explain a command, or exit-codes",
      .usage = "[OBJECT [VERB]]",
      .max_args = 2},
     help_run,
     false},
    {{.object = "__manual", .verb = ""}, manual_run, false},
};
const size_t n_specials = sizeof specials / sizeof *specials;

const struct special *special_find(const char *object, const char *verb) {
    for (size_t i = 0; i < n_specials; i++)
        if (str_eq(specials[i].command.object, object) && str_eq(specials[i].command.verb, verb))
            return &specials[i];
    return NULL;
}

static const struct api_cli_command *row_find(const char *object, const char *verb) {
    for (size_t i = 0; i < api_cli_n_commands; i++)
        if (str_eq(api_cli_commands[i].object, object) && str_eq(api_cli_commands[i].verb, verb))
            return &api_cli_commands[i];
    return NULL;
}

/* A row as a command; what a special command says of itself goes first. */
static struct command command_make(const struct api_cli_command *row, const struct special *special) {
    struct command c = special ? special->command : (struct command){.object = row->object, .verb = row->verb};
    if (!row)
        return c;
    c.row = row;
    if (!c.summary)
        c.summary = row->summary;
    int n = 0;
    while (n < API_CLI_ARGS && row->args[n])
        n++;
    if (!special || (!c.max_args && !c.usage))
        c.min_args = c.max_args = n;
    return c;
}

bool command_at(size_t i, struct command *ret) {
    if (i < api_cli_n_commands) {
        const struct api_cli_command *row = &api_cli_commands[i];
        *ret = command_make(row, special_find(row->object, row->verb));
        return true;
    }
    i -= api_cli_n_commands;
    for (size_t k = 0; k < n_specials; k++) {
        const struct command *c = &specials[k].command;
        if (row_find(c->object, c->verb))
            continue;
        if (i-- == 0) {
            *ret = command_make(c->as ? row_find(c->object, c->as) : NULL, &specials[k]);
            return true;
        }
    }
    return false;
}

/* What people's fingers know. */
static const char *verb_of(const char *verb) {
    return str_eq(verb, "ls") ? "list" : str_eq(verb, "rm") ? "delete" : verb;
}

bool command_find(const char *object, const char *verb, struct command *ret) {
    verb = verb_of(verb);
    const struct special *special = special_find(object, verb);
    const struct api_cli_command *row = row_find(object, special && special->command.as ? special->command.as : verb);
    /* A row that needs code which nobody wrote is no command. */
    if (!special && (!row || row->special))
        return false;
    *ret = command_make(row, special);
    return true;
}

const char *object_find(const char *text) {
    struct command c;
    for (size_t i = 0; command_at(i, &c); i++)
        if (str_eq(c.object, text))
            return c.object;
    for (int k = 0; k < API_KIND_COUNT; k++)
        if (str_eq(api_kinds[k].plural, text))
            return api_kinds[k].name;
    return NULL;
}

void command_name(const struct command *c, struct buf *out) {
    buf_adds(out, c->object);
    if (*c->verb)
        buf_addf(out, " %s", c->verb);
}
