/* SPDX-License-Identifier: Apache-2.0 */
/* Answers for people and for programs. */
#pragma once

#include "api/cli_table.h"
#include "cli/cli.h"

/* One column of a table, or one field of an object. Arrays end with a NULL path. */
struct column {
    const char *path;  /* dotted: "hardware.memory", "disks.0.size" */
    const char *title; /* "MEMORY" */
    enum api_cli_type type;
    bool array;
    const char *ref;                 /* the kind whose id stands there, or NULL */
    const struct api_cli_view *view; /* of an object */
};

/* The columns of the view's table, or those of a list such as "name,hardware.cpus"; names NULL and a view without
   columns: all of its fields. */
int columns_make(const struct api_cli_view *view, const char *names, struct column **ret, struct error *e);
void columns_free(struct column *columns);
static inline void columns_freep(struct column **c) { columns_free(*c); }
#define _cleanup_columns_ __attribute__((cleanup(columns_freep)))

/* Objects as a table with these columns, or as --output says. 0. */
int show_list(struct cli *cli, const json_t *objects, const struct column *columns);
/* One object, with all its fields; view NULL: as JSON or YAML. 0. */
int show_object(struct cli *cli, const json_t *object, const struct api_cli_view *view);
/* Any value as JSON or YAML, as --output says. */
void show_value(const struct cli *cli, const json_t *value);

/* The value at a dotted path, borrowed; NULL if there is none. */
const json_t *json_at(const json_t *object, const char *path);
/* One value as a cell's text; malloc'd. names: id → name, or NULL. */
char *show_cell(const struct column *column, const json_t *value, const json_t *names);
/* An SGR number for states, or NULL. */
const char *show_style(const struct column *column, const char *text);
/* id → name of what the columns refer to in the objects; a new reference. Best effort: what cannot be found stays an
 * id. */
json_t *names_load(struct cli *cli, const json_t *objects, const struct column *columns);
