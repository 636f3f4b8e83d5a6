/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command's arguments against its row of the table: positional ones, global options, the options of the command's
 * own, and the flags of its body, which become JSON. Knows no server.
 */
#pragma once

#include "api/cli_table.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>

enum output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_YAML, OUTPUT_NAME };

/* An option that is no field of a body. */
struct option {
    const char *name; /* without dashes */
    const char *arg;  /* what it takes ("FILE"), NULL: it is a switch */
    const char *help;
    char letter; /* -o; 0: none */
};

/* What the engine knows of a command: its row, and for special commands what they add. */
struct command {
    const char *object, *verb; /* verb "" for none */
    const char *summary;
    const struct api_cli_command *row; /* NULL: the CLI's own command */
    const char *usage;                 /* the positional arguments, instead of those of the row; or NULL */
    const struct option *options;      /* ended by a NULL name; or NULL */
    const char *as;                    /* the verb whose row it has; NULL: its own */
    bool body;                         /* the row's flags apply; always so for commands that are not special */
    int min_args, max_args;
    const char *more; /* further help: examples, notes; or NULL */
};

/* Options that every command takes, and those of lists and changes; each ended by a NULL name. */
extern const struct option options_global[];
extern const struct option options_wait[];
extern const struct option options_list[];
extern const struct option options_change[];

#define ARGS_MAX 8

struct args {
    const struct command *command;
    const char *values[ARGS_MAX]; /* positional, borrowed */
    int n_values;
    json_t *body;    /* an object if the command has a body, else NULL */
    json_t *options; /* name → array of strings (true for a switch) */
    bool help;
};
void args_done(struct args *a);
#define _cleanup_args_ __attribute__((cleanup(args_done)))

/* argv: what follows OBJECT VERB. Positional arguments that are fields of the body are put there. Whether something
   required is missing is checked by args_check, so that --help works beside anything. */
int args_parse(const struct command *c, int argc, char *const *argv, struct args *ret, struct error *e);
int args_check(const struct args *a, struct error *e);

/* The last value of an option, or NULL; of a switch "". */
const char *args_option(const struct args *a, const char *name);
bool args_has(const struct args *a, const char *name);
int args_number(const struct args *a, const char *name, int64_t min, int64_t max, int64_t otherwise, int64_t *ret,
                struct error *e);
enum output args_output(const struct args *a);

/* Whether the row's flags apply. */
bool command_has_flags(const struct command *c);
/* Whether the i-th positional argument fills a part of the path; else it is a field of the body. */
bool command_arg_in_path(const struct api_cli_command *row, int i);
/* The i-th positional argument as the help writes it: "SERVER". */
void command_arg_name(const struct api_cli_command *row, int i, struct buf *out);
const struct api_cli_flag *command_flag(const struct command *c, const char *name);
const struct option *command_option(const struct command *c, const char *name, char letter);

/* The API's name of a field as what was typed for it: "disks[0].size" → "--disk size", "server" → "SERVER"; malloc'd.
   *ret is false for a switch that was not given: the error tells of it as a way out, not as what is wrong. */
char *args_field_name(const struct args *a, const struct command *c, const char *field, bool *ret_given);

/* A flag's text as JSON. */
int flag_value(const struct api_cli_flag *flag, const char *text, json_t **ret, struct error *e);
/* body.a.b = value for the path "a.b". */
void body_set(json_t *body, const char *path, json_t *value);

/* A whole file, "-" for stdin, at most max bytes; what is read is text (UTF-8, no NUL). */
int input_read(const char *path, size_t max, char **ret, struct error *e);
/* The same, without the line's end: passwords and tokens. */
int input_read_secret(const char *path, char **ret, struct error *e);
