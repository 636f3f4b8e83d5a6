/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tarn: the command line. An engine over the generated table (src/api/cli_table.h): a row says how arguments become a
 * request and how the answer is shown. Commands that are more than one request have code of their own and stand in
 * special.c.
 *
 *   main.c      finds the command, reports errors, exit codes
 *   args.c      arguments → body and options      flag.c    one flag's text
 *   engine.c    request, list, change             show.c    answers as tables, JSON, YAML, names
 *   job.c       follows jobs                      stream.c  the stream of changes
 *   login.c     sign-in; trust.c, config.c        import.c  uploads and template import
 *   pool.c      pools with their servers          events.c  events and alarms
 *   console.c   serial console                    vnc.c     a local door to a display
 *   help.c      help, man page sections           completion.c
 */
#pragma once

#include "base/error.h"
#include "cli/args.h"
#include "cli/config.h"
#include "cli/http.h"
#include "cli/url.h"

#include <stdbool.h>
#include <stddef.h>

#define EXIT_INTERRUPTED 130

struct cli {
    struct args args;
    enum output output;
    bool quiet, verbose, dry_run;
    bool tty_out, tty_err, colour;
    size_t width; /* of the terminal; 0: not one */
    struct profile profile;
    struct url url;
    struct http *http;       /* after cli_connect */
    char *ids[API_CLI_ARGS]; /* engine_resolve's */
};

/* A command with code of its own. run returns an exit code, or a negative errno with the error set. */
struct special {
    struct command command;
    int (*run)(struct cli *cli, struct error *e);
    bool connect; /* it talks to the manager of the profile */
};

/* NULL where there is no such special command. */
const struct special *special_find(const char *object, const char *verb);
extern const struct special specials[];
extern const size_t n_specials;

/* All commands, special or not, in the order of the description; i from 0, false after the last. */
bool command_at(size_t i, struct command *ret);
/* object may be a plural. */
bool command_find(const char *object, const char *verb, struct command *ret);
/* The object's name for a plural or for itself; NULL if there is none. */
const char *object_find(const char *text);
void command_name(const struct command *c, struct buf *out);

/* Loads the profile; an error if no manager is known. */
int cli_connect(struct cli *cli, struct error *e);
/* Whom stderr may tell things that are not errors. */
void cli_note(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What somebody should know although the command did its work: also with --quiet. */
void cli_warn(const char *text);
/* Writes all of it to stdout; output that nobody reads any more (a closed pipe) ends the program quietly. */
void cli_write(const char *data, size_t len);
void cli_flush(void);
/* The request instead of its effect, for --dry-run. */
void cli_print_request(const struct cli *cli, const char *method, const char *path, const json_t *body);

/* engine.c */
/* Where a name that is to stand in the path is the beginning of an id (four characters or more) and no name, the id. */
int engine_resolve(struct cli *cli, struct error *e);
int engine_run(struct cli *cli, struct error *e);
/* The operation's path with the command's arguments in it; malloc'd. */
char *engine_path(const struct cli *cli);
/* All pages of GET /plural, at most limit objects (0: all): an array. */
int engine_list(struct cli *cli, const char *plural, const char *filter, const char *sort, const char *fields,
                int64_t limit, json_t **ret, struct error *e);
/* A list; also: what all of it must be besides --filter, or NULL. */
int engine_list_run(struct cli *cli, const char *also, struct error *e);
/* What a command that answers with a job does after it: waits, unless --no-wait, and prints. */
int engine_job(struct cli *cli, json_t *job, struct error *e);

/* pool.c */
/* Pools with what is in them and how much of that is used. */
int pools_show(struct cli *cli, const json_t *pools, struct error *e);
/* A pool's servers, below it. */
int pool_members_show(struct cli *cli, const json_t *pool, struct error *e);

/* help.c */
void help_overview(struct buf *out, size_t width);
void help_object(const char *object, struct buf *out, size_t width);
void help_command(const struct command *c, struct buf *out, size_t width);
void help_exit_codes(struct buf *out);
int help_run(struct cli *cli, struct error *e);
int manual_run(struct cli *cli, struct error *e);

/* completion.c */
int completion_run(struct cli *cli, struct error *e);

/* Commands of their own. */
int login_run(struct cli *cli, struct error *e);
int logout_run(struct cli *cli, struct error *e);
int profile_list_run(struct cli *cli, struct error *e);
int import_run(struct cli *cli, struct error *e);
int import_disk_run(struct cli *cli, struct error *e);
int import_iso_run(struct cli *cli, struct error *e);
int job_watch_run(struct cli *cli, struct error *e);
int event_list_run(struct cli *cli, struct error *e);
int alarm_list_run(struct cli *cli, struct error *e);
int stream_run(struct cli *cli, struct error *e);
int console_run(struct cli *cli, struct error *e);
int vnc_run(struct cli *cli, struct error *e);
