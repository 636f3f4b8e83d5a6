/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command line knows of the API. The rows are generated from api/tarn.yaml: one command for each operation
 * with an x-cli key, its flags from the fields of the body, and how the answers are shown. src/cli is an engine over
 * these rows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum api_cli_type {
    API_CLI_STRING,
    API_CLI_INTEGER,
    API_CLI_SIZE,    /* an integer with x-unit bytes: "256MiB" */
    API_CLI_SECONDS, /* an integer with x-unit seconds: "90", "10m", "2h", "7d" */
    API_CLI_NUMBER,
    API_CLI_RATE,    /* a number with x-unit bytes/s; in answers only */
    API_CLI_BOOLEAN, /* --start, --no-start */
    API_CLI_ENUM,    /* one of choices */
    API_CLI_TIME,    /* format date-time; in answers only */
    API_CLI_FILE,    /* x-cli-file: the flag names a file whose text is the value */
    API_CLI_OBJECT,  /* members; as a flag KEY=VALUE,KEY=VALUE */
    API_CLI_JSON,    /* a free-form object */
};

/* A flag of a command, or a key of a flag that takes an object. */
struct api_cli_flag {
    const char *name; /* without dashes in front: "memory", "disk", "cloud-init-user-data"; a key: "size" */
    const char *path; /* the field in the body, dotted for embedded objects: "cloud_init.user_data" */
    const char *help; /* the field's description or "" */
    enum api_cli_type type;
    bool array;       /* each use appends */
    bool required;
    int64_t min, max;                 /* of a number; both 0: any */
    const char *const *choices;       /* NULL-terminated; NULL unless API_CLI_ENUM */
    const char *ref;                  /* the kind of object that it names, or NULL */
    const char *text_default;         /* as JSON ("268435456", "\"virtio\""), or NULL */
    const struct api_cli_flag *members; /* of API_CLI_OBJECT, ended by a NULL name */
};

/* A field of an answer. */
struct api_cli_field {
    const char *name;
    enum api_cli_type type; /* never API_CLI_FILE */
    bool array;
    const char *ref;                /* the kind whose id it holds, or NULL */
    const struct api_cli_view *view; /* of API_CLI_OBJECT */
};

/* How the objects of a schema are shown. */
struct api_cli_view {
    const char *name;                  /* "vm", "server_stats" */
    const char *kind;                  /* "vm", or NULL if it is no kind */
    const char *plural;                /* the path under which the kind is listed: "vms", or NULL */
    const struct api_cli_field *fields; /* those that a client may see, in their order; ended by a NULL name */
    const char *const *columns;        /* of the table, dotted ("disks.0.size"), NULL-terminated; NULL: none */
};

#define API_CLI_ARGS 2

struct api_cli_command {
    const char *object, *verb; /* verb "" for the commands without one (login) */
    const char *operation;     /* "vm_create" */
    const char *summary;
    const char *method, *path; /* "/vms/{vm}/start" */
    /* Positional arguments, NULL where there are no more: those that stand in the path fill it, others are fields of
       the body. */
    const char *args[API_CLI_ARGS];
    bool on_off; /* the first argument is a boolean of the body, said as on or off */
    bool list;      /* the answer is a page of a list */
    bool job;       /* the answer is a job */
    bool change;    /* PATCH: flags become a merge patch, If-Match is possible */
    bool query;     /* what would be fields of the body are query parameters */
    bool special;   /* the CLI has code of its own */
    const struct api_cli_flag *flags;  /* of the body without args; ended by a NULL name; NULL: no body */
    const struct api_cli_view *result; /* NULL: no answer */
};

extern const struct api_cli_command api_cli_commands[]; /* in the order of the description */
extern const size_t api_cli_n_commands;
extern const struct api_cli_view *const api_cli_views[]; /* of the kinds; NULL-terminated */
