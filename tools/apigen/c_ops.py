# SPDX-License-Identifier: Apache-2.0
"""Kinds, operations, routes and agent messages in C."""

from model import METHODS, upper
from text import c_head, c_row, c_string

TYPES = """\
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
static inline char **api_kind_created(enum api_kind k, void *o) { return api_kind_text_(o, api_kinds[k].created_offset); }
static inline int64_t *api_kind_revision(enum api_kind k, void *o) {
    return (int64_t *)(void *)api_kind_text_(o, api_kinds[k].revision_offset);
}
"""

OP = """\
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
    bool stream;                   /* the body is bytes of any length */
    bool list;                     /* answers a page of objects */
    const char *job_kind;          /* "vm.create", or NULL */
    const char *tag;
    const char *summary;
    const struct api_schema *body; /* NULL: no body */
    bool body_is_change;           /* the body is a merge patch */
    int kind;                      /* enum api_kind of the result, -1 if it is no kind */
    int status;                    /* HTTP status of success */
};
extern const struct api_op api_ops[API_OP_COUNT];

/*
 * The operation of a method and a path (without /api/v1 and without a query). Parameters are percent-decoded into ret, which
 * owns them; one with an encoded NUL or '/' or that is no UTF-8 is malformed. NULL if there is none; ret->allow then names
 * the methods that the path has, if any.
 */
const struct api_op *api_route(const char *method, const char *path, struct api_route *ret);

/* The whole description for clients (OpenAPI 3.1), followed by a NUL that is not counted. */
extern const char api_openapi_json[];
extern const size_t api_openapi_json_len;
"""

AGENT = """\
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
"""

KIND_FUNCTIONS = """\
static void {n}_init(void *ret) {{ api_{n}_init(ret); }}
static void {n}_done(void *object) {{ api_{n}_done(object); }}
static void {n}_copy(void *to, const void *from) {{ api_{n}_copy(to, from); }}
static int {n}_parse(const json_t *j, enum api_use use, void *ret, struct error *e) {{ return api_{n}_parse(j, use, ret, e); }}
static int {n}_merge(const void *old, const json_t *patch, void *ret, struct error *e) {{
    return api_{n}_merge(old, patch, ret, e);
}}
static json_t *{n}_print(const void *object, enum api_view view) {{ return api_{n}_print(object, view); }}
static void {n}_write(const void *object, enum api_view view, struct buf *out) {{ api_{n}_write(object, view, out); }}
static int {n}_each_ref(void *object, api_ref_visitor *visit, void *ctx) {{ return api_{n}_each_ref(object, visit, ctx); }}
"""

ROUTE = """\
const struct api_op *api_route(const char *method, const char *path, struct api_route *ret) {
    return api_route_find(paths, sizeof paths / sizeof paths[0], method, path, ret);
}
"""


def c_enum(name, prefix, values):
    return [f"enum {name} {{"] + [f"    {prefix}{upper(v)}," for v in values] + [f"    {prefix}COUNT,", "};"]


def x_macro(name, values):
    lines = [f"#define {name}(X)"] + [f"    X({v})" for v in values]
    return [line.ljust(60) + "\\" for line in lines[:-1]] + [lines[-1]]


def header(model):
    lines = c_enum("api_kind", "API_KIND_", [s.kind for s in model.kinds]) + TYPES.split("\n")
    lines += ["/* ---- operations ---- */", ""] + c_enum("api_op_id", "API_OP_", [o.name for o in model.operations])
    lines += OP.split("\n")
    lines += ["/* Every operation that src/core handles, and every one that the manager's shell does. */"]
    lines += x_macro("API_CORE_OPS", [o.name for o in model.operations if not o.shell])
    lines += x_macro("API_SHELL_OPS", [o.name for o in model.operations if o.shell])
    lines += ["", "/* ---- messages between manager and agent ---- */", "", f"#define API_AGENT_PROTOCOL {model.protocol}"]
    lines += c_enum("api_agent_op", "API_AGENT_OP_", [o.name for o in model.agent_ops])
    lines += c_enum("api_agent_event", "API_AGENT_EVENT_", list(model.agent_events)) + AGENT.split("\n")
    return lines


def kind_row(model, s):
    def offset(name):
        return f"offsetof(struct api_{s.snake}, {name})" if s.field(name) else "API_NO_OFFSET"

    n = s.snake
    return c_row([f'.name = "{s.kind}"', f'.plural = "{model.plural(s)}"', f".schema = &api_{n}_schema",
                  f".size = sizeof(struct api_{n})"] +
                 [f".{f}_offset = {offset(f)}" for f in ("id", "name", "revision", "created")] +
                 [f".{f} = {n}_{f}" for f in ("init", "done", "copy", "parse", "merge", "print", "write", "each_ref")])


def op_row(model, o):
    body, result = o.body, o.result
    schema = model.schemas.get(result[0]) if result else None
    values = [f".id = API_OP_{upper(o.name)}", f'.name = "{o.name}"', f'.method = "{o.method}"', f'.path = "{o.path}"',
              f".permission = {c_string(o.key('x-permission'))}",
              f".roles = {' | '.join('1u << API_ROLE_' + upper(r) for r in o.roles)}"]
    flags = {"public": o.key("x-permission") == "none", "self": o.key("x-permission") == "self", "shell": o.shell,
             "job": o.key("x-job"), "websocket": o.key("x-websocket"), "stream": o.key("x-stream"), "list": result and result[1],
             "body_is_change": body and body[1] == "change"}
    values += [f".{k} = true" for k, v in flags.items() if v]
    if o.key("x-job"):
        values.append(f".job_kind = {c_string(o.key('x-job'))}")
    values += [f'.tag = "{o.tag}"', f".summary = {c_string(o.key('summary'))}"]
    if body:
        values.append(f".body = &api_{model.schemas[body[0]].snake}_schema")
    values.append(f".status = {o.status}")
    values.append(f".kind = {'API_KIND_' + upper(schema.kind) if schema and schema.kind else -1}")
    return c_row(values)


def path_rows(model):
    """Paths without parameters first, so that /sessions/current wins over a /sessions/{session}."""
    by_path = {}
    for o in model.operations:
        by_path.setdefault(o.path, {})[o.method] = o
    lines = ["static const struct api_path paths[] = {"]
    for path in sorted(by_path, key=lambda p: (p.count("{"), p)):
        methods = by_path[path]
        ordered = [m.upper() for m in METHODS if m.upper() in methods]
        lines += c_row([f'"{path}"', f'"{", ".join(ordered)}"', str(len(ordered)),
                        "{" + ", ".join(f"&api_ops[API_OP_{upper(methods[m].name)}]" for m in ordered) + "}"])
    return lines + ["};", ""]


def from_text(name, table, n):
    return [f"int {name}(const char *name) {{", f"    for (int i = 0; name && i < {n}; i++)",
            f"        if (strcmp({table}[i].name, name) == 0)", "            return i;", "    return -1;", "}", ""]


def source(model):
    lines = c_head("Kinds, operations, routes and agent messages.", "api/api.h", "api/route.h") + ["#include <string.h>", ""]
    for s in model.kinds:
        lines += KIND_FUNCTIONS.format(n=s.snake).split("\n")
    lines.append("const struct api_kind_info api_kinds[API_KIND_COUNT] = {")
    for s in model.kinds:
        lines += kind_row(model, s)
    lines += ["};", ""] + from_text("api_kind_from_text", "api_kinds", "API_KIND_COUNT")
    lines.append("const struct api_op api_ops[API_OP_COUNT] = {")
    for o in model.operations:
        lines += op_row(model, o)
    lines += ["};", ""] + path_rows(model) + ROUTE.split("\n")
    lines.append("const struct api_agent_op_info api_agent_ops[API_AGENT_OP_COUNT] = {")
    for a in model.agent_ops:
        args, result = (model.schemas[n].snake for n in (a.args, a.result))
        lines += c_row([f'"{a.name}"', str(bool(a.once)).lower(), str(bool(a.cancel)).lower(), f"&api_{args}_schema",
                        f"&api_{result}_schema"])
    lines += ["};", ""] + from_text("api_agent_op_from_text", "api_agent_ops", "API_AGENT_OP_COUNT")
    lines.append("const struct api_agent_event_info api_agent_events[API_AGENT_EVENT_COUNT] = {")
    for name, schema in model.agent_events.items():
        lines += c_row([f'"{name}"', f"&api_{model.schemas[schema].snake}_schema"])
    return lines + ["};", ""] + from_text("api_agent_event_from_text", "api_agent_events", "API_AGENT_EVENT_COUNT")
