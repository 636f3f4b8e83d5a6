/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of objects: fields by their paths, filters, orders, pages; and requests that take more than one go. */
#pragma once

#include "base/list.h"
#include "core/core.h"

struct object;
struct version;
struct table;
struct search_run;

/* A field by its path: "hardware.memory", "disks.0.size". */
#define PATH_DEPTH 4
struct path {
    const struct api_field *fields[PATH_DEPTH];
    int64_t index[PATH_DEPTH]; /* into an array; -1: any element */
    size_t n;
};

enum term_op { TERM_EQUAL, TERM_DIFFERENT, TERM_CONTAINS, TERM_LESS, TERM_AT_MOST, TERM_GREATER, TERM_AT_LEAST };
struct term {
    struct path path;
    enum term_op op;
    char *value, *low; /* low: in lower case, for TERM_CONTAINS */
    bool is_time;      /* value is one: times are compared as such, whatever their digits */
    int64_t time;
    bool is_integer; /* value is one, as it is printed */
    int64_t integer;
    double number;
    char *id; /* of what a reference names by its name; NULL */
};
struct filter {
    struct term *terms;
    size_t n;
};

/* The objects of a table that pass a filter, in an order; order.c. */
#define ORDERS_MAX 12
struct order {
    bool used, made;  /* made: all of the table has been looked at */
    struct path path; /* of the field; n 0: the table's own order */
    struct filter filter;
    struct object **list;
    size_t n, cap;
    char *at;        /* until it is made: the key of the last object that was looked at; NULL: none was */
    int64_t used_at; /* mono_ms */
};

/* ---- filter.c ---- */

/* A value of a field. */
struct scalar {
    const char *text; /* "" of a number: scalar_text() makes it */
    double number;
    int64_t integer; /* the same, exactly, if it is one */
    bool is_number, is_integer;
};
const char *scalar_text(const struct scalar *v, char buf[static 40]);
int path_parse(const struct api_schema *schema, const char *text, size_t len, struct path *p, struct error *e);
/* Visits the scalars that the path leads to until visit returns true. */
bool path_visit(const struct path *p, size_t depth, const void *object,
                bool (*visit)(void *ctx, const struct scalar *v), void *ctx);
/* An error that names those which are there. */
int field_missing(const struct api_schema *s, const char *name, size_t len, struct error *e);
const struct api_field *field_find(const struct api_schema *s, const char *name, size_t len);
/* f is to be given to filter_done() whatever the result. */
int filter_parse(const struct api_schema *schema, const char *text, struct filter *f, struct error *e);
void filter_done(struct filter *f);
/* A reference may be given by the name of what it refers to. */
void filter_resolve(const struct core *c, struct filter *f);
bool filter_match(const struct filter *f, const void *data);
void filter_copy(struct filter *ret, const struct filter *f);
bool filter_same(const struct filter *a, const struct filter *b);

/* ---- query.c ---- */

int core_list(struct core *c, const struct core_request *r, enum api_kind kind,
              bool (*visible)(void *ctx, const void *data), void *ctx, struct error *e);
void core_reply_object(struct core *c, uint64_t request, int status, const struct object *o, const char *fields);

/* ---- order.c ---- */

/* What an object is sorted by. Strings are borrowed. */
struct row {
    const struct object *o;
    const char *id, *text;
    double number;
    bool is_number;
};
/* The list sorted by the field, the caller's. */
struct object **order_make(const struct path *path, struct object *const *list, size_t n);
/* What of the table passes the filter, by the field (n 0: in the table's own order); borrowed until something changes.
   NULL: it has to be made first. order_go_on() makes a piece of it, and is that when it is made. */
const struct order *order_of(struct core *c, struct table *t, const struct path *path, const struct filter *f);
const struct order *order_go_on(struct core *c, enum api_kind kind, const struct path *path, const struct filter *f);
void order_look_ahead(struct object *const *list, size_t at, size_t n); /* in a walk over the list */
/* The first of a sorted list that is not below the key. */
size_t order_find(const struct path *path, struct object *const *list, size_t n, const struct row *key);
/* Pages: where the one before ended, as it is given to clients. id: the caller's, which the row borrows. */
struct row order_cursor(const struct path *path, const char *after, char **ret_id);
char *order_cursor_of(const struct path *path, const struct object *o);
/* Before an object gets another version (NULL: none), and after, with what the first has returned. */
unsigned orders_remove(struct table *t, const struct object *o, const struct version *next);
void orders_add(struct table *t, struct object *o, unsigned where);
void orders_sweep(struct core *c); /* those that nobody asks for any more go */
void orders_done(struct table *t);

/* ---- parked.c ---- */

/* What a request takes from one go to the next. */
struct parked {
    struct list link;          /* core.parked */
    struct core_request r;     /* copied */
    bool again;                /* it has not been answered yet */
    struct search_run *search; /* search.c's */
};
/* The request being handled goes on in core_work(): its handler is called again. It must not have replied. */
struct parked *park(struct core *c, const struct core_request *r);
/* How much of what has to be looked at is looked at in one go. */
size_t core_slice(const struct core *c);
void parked_done(struct core *c);
