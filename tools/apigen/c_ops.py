# SPDX-License-Identifier: Apache-2.0
"""Kinds, operations, routes and agent messages in C."""

from model import METHODS, upper
from text import c_head, c_row, c_string

KIND_FUNCTIONS = """\
static void {n}_init(void *ret) {{ api_{n}_init(ret); }}
static void {n}_done(void *object) {{ api_{n}_done(object); }}
static void {n}_copy(void *to, const void *from) {{ api_{n}_copy(to, from); }}
static int {n}_parse(const json_t *j, enum api_use use, void *ret, struct error *e) {{
    return api_{n}_parse(j, use, ret, e);
}}
static int {n}_merge(const void *old, const json_t *patch, void *ret, struct error *e) {{
    return api_{n}_merge(old, patch, ret, e);
}}
static json_t *{n}_print(const void *object, enum api_view view) {{ return api_{n}_print(object, view); }}
static void {n}_write(const void *object, enum api_view view, struct buf *out) {{ api_{n}_write(object, view, out); }}
static int {n}_each_ref(void *object, api_ref_visitor *visit, void *ctx) {{
    return api_{n}_each_ref(object, visit, ctx);
}}
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
    lines = ["/* ---- kinds, operations, messages ---- */", ""]
    lines += c_enum("api_kind", "API_KIND_", [s.kind for s in model.kinds])
    lines += c_enum("api_op_id", "API_OP_", [o.name for o in model.operations])
    lines += ["/* Every operation that src/core handles, and every one that the manager's shell does. */"]
    lines += x_macro("API_CORE_OPS", [o.name for o in model.operations if not o.shell])
    lines += x_macro("API_SHELL_OPS", [o.name for o in model.operations if o.shell])
    lines += ["", f"#define API_AGENT_PROTOCOL {model.protocol}"]
    lines += c_enum("api_agent_op", "API_AGENT_OP_", [o.name for o in model.agent_ops])
    lines += c_enum("api_agent_event", "API_AGENT_EVENT_", list(model.agent_events))
    return lines + ["", '#include "api/tables.h"']


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
             "job": o.key("x-job"), "websocket": o.key("x-websocket"), "stream": o.key("x-stream"),
             "list": result and result[1], "body_is_change": body and body[1] == "change"}
    values += [f".{k} = true" for k, v in flags.items() if v]
    if o.key("x-job"):
        values.append(f".job_kind = {c_string(o.key('x-job'))}")
    values += [f'.tag = "{o.tag}"', f".summary = {c_string(o.key('summary'))}"]
    if body:
        values.append(f".body = &api_{model.schemas[body[0]].snake}_schema")
    if o.query:
        values.append(f".query = &api_{model.schemas[o.query].snake}_schema")
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
    lines = c_head("Kinds, operations, routes and agent messages.", "api/api.h", "api/route.h")
    lines += ["#include <string.h>", ""]
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
