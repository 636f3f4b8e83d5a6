/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CLI's commands as rows, generated from api/tarn.yaml (x-cli). A row says everything that `tarn OBJECT VERB` needs to
 * read its arguments, make the request and show the answer; only rows with `special` have code of their own, and even those
 * can use their row's flags and columns. Arrays of rows end with one whose first member is NULL.
 */
#pragma once

#include "api/api.h"

enum cli_type {
    CLI_TEXT,
    CLI_INTEGER,
    CLI_NUMBER,
    CLI_SIZE,   /* bytes, read and shown in binary units: size_parse, size_format */
    CLI_SWITCH, /* true or false; --flag alone means true, --flag=false is the other */
    CLI_CHOICE, /* one of choices */
    CLI_TIME,   /* RFC 3339; columns only */
    CLI_OBJECT, /* has members of its own: sub */
};

struct cli_flag {
    const char *name;  /* "restart-policy": without the dashes */
    const char *field; /* where it goes in the body, "restart_policy", "cloud_init.user_data"; or the query parameter's name */
    enum cli_type type;
    bool list;     /* scalars: comma-separated, or repeated. CLI_OBJECT: repeated, each --disk size=10GiB,bus=sata */
    bool file;     /* the flag takes a file's name ("-": standard input) whose text becomes the value */
    bool query;    /* goes into the query string */
    bool required; /* the API refuses the request without it */
    int64_t min, max;           /* of a number's value; INT64_MIN, INT64_MAX: no limit */
    const char *const *choices; /* ends with NULL; NULL if there are none */
    const char *default_text;   /* for the help: what is taken without the flag; NULL: nothing */
    const char *ref;            /* the kind whose name or id it takes, or NULL */
    const struct cli_flag *sub; /* CLI_OBJECT: the keys; their field is the key in the object, their name the key to type */
    const char *help;           /* may be "" */
};

struct cli_arg {
    const char *name;  /* "vm", "name": as the usage line shows it */
    const char *field; /* body field that it sets; NULL: it is the path's {name} */
    const char *ref;   /* path parameters: the kind, for completion */
    const char *help;
};

struct cli_column {
    const char *path;  /* in the object: "hardware.memory", "hypervisors.0.accelerator" */
    const char *title; /* "MEMORY" */
    enum cli_type type;
    bool list;
    const char *ref;              /* the value is an id of this kind; show the name */
    const struct cli_column *sub; /* CLI_OBJECT: the members */
};

struct cli_command {
    const char *object, *verb; /* "vm", "create"; verb NULL: the object is the command ("login") */
    enum api_op_id op;         /* api_ops[op] has method, path, job, list, websocket, summary */
    bool special;
    bool body;                        /* sends a JSON object made of the flags and arguments, if only {} */
    const struct cli_arg *args;       /* by position, all required */
    const struct cli_flag *flags;     /* those of the description; global ones (-o, --no-wait) are the CLI's own */
    const struct cli_column *columns; /* of a list's table; NULL if the result is no kind */
    const struct cli_column *fields;  /* of the whole result, for `show`; NULL without one */
};

extern const struct cli_command api_cli_commands[]; /* ends with object NULL */
extern const size_t api_cli_n_commands;

/* A kind's table, e.g. for `job watch`. */
extern const struct cli_column *const api_cli_columns[API_KIND_COUNT];
