/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of kinds, operations and agent messages, whose rows and enumerations are generated. Included by api/api.h,
 * where the enumerations stand; use that.
 */
#pragma once

/* ---- kinds of object ---- */

#define API_NO_OFFSET ((size_t)-1)
struct api_kind_info {
    const char *name;   /* "vm" */
    const char *plural; /* the path of its list: "vms" */
    const struct api_schema *schema;
    size_t size;
    /* Offsets of char *id, char *name, int64_t revision, char *created; API_NO_OFFSET if it has no such field. */
    size_t id_offset, name_offset, revision_offset, created_offset;
    void (*init)(void *ret);
    void (*done)(void *object);
    void (*copy)(void *to, const void *from);
    int (*parse)(const json_t *j, enum api_use use, void *ret, struct error *e);
    int (*merge)(const void *old, const json_t *patch, void *ret, struct error *e);
    json_t *(*print)(const void *object, enum api_view view);
    void (*write)(const void *object, enum api_view view, struct buf *out);
    int (*each_ref)(void *object, api_ref_visitor *visit, void *ctx);
};
extern const struct api_kind_info api_kinds[API_KIND_COUNT];
int api_kind_from_text(const char *name); /* -1 if there is none */

static inline char **api_kind_text_(void *object, size_t offset) {
    return offset == API_NO_OFFSET ? NULL : (char **)((char *)object + offset);
}
/* The members of an object whose kind is known only at run time; NULL where the kind has no such field. */
static inline char **api_kind_id(enum api_kind k, void *o) { return api_kind_text_(o, api_kinds[k].id_offset); }
static inline char **api_kind_name(enum api_kind k, void *o) { return api_kind_text_(o, api_kinds[k].name_offset); }
static inline char **api_kind_created(enum api_kind k, void *o) {
    return api_kind_text_(o, api_kinds[k].created_offset);
}
static inline int64_t *api_kind_revision(enum api_kind k, void *o) {
    return (int64_t *)(void *)api_kind_text_(o, api_kinds[k].revision_offset);
}

/* ---- operations ---- */

struct api_op {
    enum api_op_id id;
    const char *name; /* "vm_create" */
    const char *method, *path;
    const char *permission; /* "vm.edit", "self" or "none" */
    unsigned roles;         /* 1 << API_ROLE_… of the roles that have the permission */
    bool public;            /* no sign-in */
    bool self;              /* any signed-in user; the handler looks whose it is */
    bool shell;             /* handled by the manager's shell, not by the core */
    bool job;               /* answers 202 with a Job */
    bool websocket;
    bool stream;          /* the body is bytes of any length */
    bool list;            /* answers a page of objects */
    const char *job_kind; /* "vm.create", or NULL */
    const char *tag;
    const char *summary;
    const struct api_schema *query; /* of its own query parameters; NULL: none */
    const struct api_schema *body;  /* NULL: no body */
    bool body_is_change;            /* the body is a merge patch */
    int kind;                       /* enum api_kind of the result, -1 if it is no kind */
    int status;                     /* HTTP status of success */
};
extern const struct api_op api_ops[API_OP_COUNT];

/*
 * The operation of a method and a path (without /api/v1 and without a query). Parameters are percent-decoded into ret,
 * which owns them; one with an encoded NUL or '/' or that is no UTF-8 is malformed. NULL if there is none; ret->allow
 * then names the methods that the path has, if any.
 */
const struct api_op *api_route(const char *method, const char *path, struct api_route *ret);

/* The whole description for clients (OpenAPI 3.1), followed by a NUL that is not counted. */
extern const char api_openapi_json[];
extern const size_t api_openapi_json_len;

/* ---- messages between manager and agent ---- */

struct api_agent_op_info {
    const char *name; /* "guest.start" */
    bool once;        /* its id is kept, and a repeat gets the first answer */
    bool cancel;      /* can be cancelled while under way */
    const struct api_schema *args, *result;
};
extern const struct api_agent_op_info api_agent_ops[API_AGENT_OP_COUNT];
int api_agent_op_from_text(const char *name); /* -1 if there is none */

struct api_agent_event_info {
    const char *name; /* "guest.state" */
    const struct api_schema *args;
};
extern const struct api_agent_event_info api_agent_events[API_AGENT_EVENT_COUNT];
int api_agent_event_from_text(const char *name); /* -1 if there is none */
