/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What walks the generated tables. api/tarn.yaml and api/agent.yaml become one struct api_schema for each object, with
 * a row for each of its fields; parsing, merging, printing, copying and freeing are written once, here, over those
 * rows. The functions by type (api_vm_parse …) are one line each.
 *
 * Use api/api.h; this header is for the generated code and for whoever handles objects without knowing their type.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum api_use {
    API_STORED, /* as printed privately; unknown fields are ignored */
    API_CREATE, /* from a client: everything is checked, what a client may not send is refused */
    API_PEER,   /* from an agent or manager: types are checked, unknown fields ignored */
};

enum api_view {
    API_PUBLIC,  /* without writeOnly fields */
    API_PRIVATE, /* as stored */
};

enum api_type {
    API_TYPE_STRING,
    API_TYPE_INTEGER,
    API_TYPE_NUMBER,
    API_TYPE_BOOLEAN,
    API_TYPE_ENUM,
    API_TYPE_OBJECT,
    API_TYPE_JSON,
};

enum api_format {
    API_FORMAT_TEXT, /* UTF-8 without control characters other than newline and tab */
    API_FORMAT_UUID,
    API_FORMAT_NAME,
    API_FORMAT_PATH,
    API_FORMAT_MAC,
    API_FORMAT_TIME,
    API_FORMAT_REF,   /* an id or a name */
    API_FORMAT_LABEL, /* one line of text that is shown to people */
};

enum api_field_flag {
    API_F_ARRAY = 1 << 0,
    API_F_REQUIRED = 1 << 1,  /* at creation */
    API_F_READ_ONLY = 1 << 2, /* set by Tarn */
    API_F_WRITE_ONLY = 1 << 3,
    API_F_INPUT = 1 << 4, /* taken at creation, neither stored nor shown */
    API_F_IMMUTABLE = 1 << 5,
    API_F_INTERNAL = 1 << 6,
    API_F_CHANGEABLE = 1 << 7, /* an input that a change may carry too */
    API_F_GIVEN = 1 << 8,      /* has a member given_NAME */
    API_F_CHANGE_ONLY = 1 << 11,
    API_F_BYTES = 1 << 10,   /* an integer that people write in binary units */
    API_F_SECONDS = 1 << 12, /* an integer that people write as 90s, 10m, 2h or 7d */
    API_F_OPTIONAL = 1 << 9, /* a number that is not there if it is not known: NAN */
};

struct api_choices {
    size_t n;
    const char *const *texts;
};

struct api_field {
    const char *name;
    uint8_t type, format;
    uint16_t flags;
    uint32_t max_items;                /* 0: no limit */
    uint16_t offset;                   /* of the member */
    uint16_t count_offset;             /* of n_NAME (array) or has_NAME (object) */
    uint16_t given_offset;             /* of given_NAME */
    int64_t min, max;                  /* of a number's value or a string's bytes */
    const struct api_choices *choices; /* of an enum, or of a string; else NULL */
    const struct api_schema *schema;   /* of an object */
    const char *ref;                   /* the kind that a string refers to, or NULL */
    const char *text_default;          /* string: its text; array: JSON; NULL: none */
    int64_t int_default;
};

struct api_schema {
    const char *name;
    size_t size;
    size_t n_fields;
    const struct api_field *fields;
};

typedef int api_ref_visitor(void *ctx, const char *kind, char **value, const char *field);

/* The functions of api.h for any schema; see docs/architecture.md for what they promise. */
void api_object_init(const struct api_schema *schema, void *object);
void api_object_done(const struct api_schema *schema, void *object);
void api_object_copy(const struct api_schema *schema, void *to, const void *from);
int api_object_parse(const struct api_schema *schema, const json_t *j, enum api_use use, void *ret, struct error *e);
int api_object_merge(const struct api_schema *schema, const void *old, const json_t *patch, void *ret, struct error *e);
json_t *api_object_print(const struct api_schema *schema, const void *object, enum api_view view);
/* The same as compact text, at the end of out: several times faster than printing and json_text(). */
void api_object_write(const struct api_schema *schema, const void *object, enum api_view view, struct buf *out);
/* Visits every reference that is not empty, inputs too, with its path ("disks[0].disk"); stops at the first non-zero.
 */
int api_object_each_ref(const struct api_schema *schema, void *object, api_ref_visitor *visit, void *ctx);

/* Of a member that is no array, or of an array's element. */
size_t api_element_size(const struct api_field *f);
/* False for an object, an optional number or a free-form value that the object does not have. */
bool api_field_present(const struct api_field *f, const void *object);

/* The value's number, or -1. */
int api_choice(const struct api_choices *choices, const char *text);

/* A string of a client against a format and a length; NULL if it is good, else what is wrong ("must be …"), in buf or
 * static. */
const char *api_string_problem(enum api_format format, int64_t min, int64_t max, const char *s, size_t len,
                               size_t buf_len, char *buf);

#define API_ROUTE_TEXT 512
struct api_route {
    const char *params[2]; /* percent-decoded, in text below */
    size_t n_params;
    const char *allow; /* "GET, PATCH": the methods that the path has; NULL if there is no such path */
    bool malformed;    /* the path's percent-encoding is wrong */
    char text[API_ROUTE_TEXT];
};
