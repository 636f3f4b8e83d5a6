# SPDX-License-Identifier: Apache-2.0
"""docs/reference.md: operations, permissions, objects and commands."""

import cli
from text import BANNER


def cell(text):
    return " ".join(str(text).replace("|", "\\|").replace("<", "&lt;").split())


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(map(cell, r)) + " |" for r in rows] + [""]


def anchor(name):
    return f"[{name}](#{name.lower()})"


def type_text(model, f):
    if f.kind == "enum":
        text = ", ".join(f"`{v}`" for v in model.enums[f.type_name].values)
    elif f.choices:
        text = ", ".join(f"`{v}`" for v in f.choices)
    elif f.kind == "object":
        text = anchor(f.type_name)
    else:
        text = f.constraint("format") or {"json": "object", "string": "text"}.get(f.kind, f.kind)
    if f.ref:
        text = f"{f.ref} (id; a name is taken too)"
    text = f.key("x-unit") or text
    return f"list of {text}" if f.array else text


def limits_text(f):
    low, high = f.constraint("minimum"), f.constraint("maximum")
    out = []
    if low is not None or high is not None:
        out.append(f"{low if low is not None else ''} to {high if high is not None else ''}")
    if f.constraint("maxLength"):
        out.append(f"{f.constraint('minLength', 0)} to {f.constraint('maxLength')} bytes")
    if f.key("maxItems"):
        out.append(f"at most {f.key('maxItems')}")
    return "; ".join(out)


def access_text(f):
    if f.read_only:
        return "read only"
    words = []
    if f.required:
        words.append("required")
    if f.input:
        words.append("changes only, not shown" if f.change_only else "not shown" if f.key("x-changeable")
                     else "creation only, not shown")
    elif f.key("x-immutable"):
        words.append("creation only")
    if f.write_only:
        words.append("not shown")
    if f.key("default") not in (None, ""):
        words.append("default " + cli.default_words(f))
    return ", ".join(words)


def object_lines(model, s):
    lines = [f"### {s.name}", ""]
    if s.description:
        lines += [s.description + ".", ""]
    rows = [[f"`{f.name}`", type_text(model, f), limits_text(f), access_text(f), f.description]
            for f in s.fields if not f.internal]
    return lines + table(["Field", "Type", "Limits", "", ""], rows) if rows else lines + ["No fields.", ""]


def operation_rows(model):
    for op in model.operations:
        body = op.body and (anchor(op.body[0]) + (", merge patch" if op.body[1] == "change" else ""))
        if op.key("x-stream"):
            body = "bytes"
        result = op.result and ("page of " if op.result[1] else "") + anchor(op.result[0])
        if op.query:
            body = "query: " + anchor(op.query)
        if op.result == ("text", False):
            result = "text"
        if op.key("x-websocket"):
            result = "WebSocket"
        permission = op.key("x-permission")
        permission = {"none": "no sign-in", "self": "any user"}.get(permission, f"`{permission}`")
        job = f"`{op.key('x-job')}`" if op.key("x-job") else ""
        yield [f"`{op.method} {op.path}`", op.key("summary"), permission, body or "", result or "", job]


def argument_text(model, command, name):
    field = command.op.body and model.schemas[command.op.body[0]].field(name)
    if field and field.kind == "boolean":
        return "on|off"
    return "TEXT" if name == "q" else name.upper().replace("_", "-")


def command_head(c, args, summary):
    return [f"**`tarn {c.object}{' ' + c.verb if c.verb else ''}{args}`**: {summary}", ""]


def special_lines(special, summary, args):
    lines = command_head(special, " " + special.usage if special.usage else args, special.summary or summary)
    if special.options:
        name = f"{special.object} {special.verb}".strip()
        lines += [f"It has options of its own: `tarn {name} --help`.", ""]
    return lines


def command_lines(model):
    lines, specials = [], cli.specials()
    for c in cli.commands(model):
        special = specials.pop((c.object, c.verb), None)
        args = "".join(" " + argument_text(model, c, a) for a in c.args)
        lines += special_lines(special, c.op.key("summary"), args) if special else command_head(c, args, c.op.key("summary"))
        if c.special and not c.verb:
            continue
        for f in c.flags:
            value = {"SIZE": "SIZE", "SECONDS": "TIME", "FILE": "FILE", "INTEGER": "N", "NUMBER": "N",
                     "ENUM": "|".join(f.choices), "OBJECT": "KEY=VALUE,…"}.get(f.type, "TEXT")
            flag = f"`--{f.name}`" if f.type == "BOOLEAN" else f"`--{f.name} {value}`"
            repeat = " (may be repeated)" if f.array else ""
            needed = " (required)" if f.required else ""
            lines.append(f"- {flag}{repeat}{needed}{': ' + f.help if f.help else ''}")
        if c.flags:
            lines.append("")
    for special in specials.values():
        if not special.object.startswith("__"):
            lines += special_lines(special, "", "")
    return lines


def source(model):
    lines = ["<!-- " + BANNER + " -->", "# Reference", "",
             f"Every path is below `{model.base}`; the same, for programs, is served as `{model.base}/openapi.json`. "
             "In a path an object's name stands as well as its id.", "", "## Operations", ""]
    lines += table(["Request", "", "Permission", "Body", "Answer", "Job"], operation_rows(model))
    lines += ["Parameters of lists:", ""]
    lines += [f"- `{p['name']}`: {p['description']}" for p in model.parameters.values()]
    lines += ["", "## Permissions", ""]
    permissions = sorted({o.key("x-permission") for o in model.operations} - {"none", "self"})
    mark = [[f"`{p}`"] + ["yes" if r in next(o.roles for o in model.operations if o.key("x-permission") == p) else ""
                          for r in model.roles] for p in permissions]
    lines += table(["Permission"] + list(model.roles), mark)
    lines += ["## Commands", ""] + command_lines(model) + ["## Objects", ""]
    for s in model.schemas.values():
        if not s.agent:
            lines += object_lines(model, s)
    lines += ["## Messages between manager and agent", "", "For readers of the code; they are no part of the API.", ""]
    lines += table(["Op", "Arguments", "Result", "Once", "Can be cancelled"],
                   [[f"`{a.name}`", anchor(a.args), anchor(a.result), a.once and "yes" or "", a.cancel and "yes" or ""]
                    for a in model.agent_ops])
    lines += table(["Event", "Arguments"], [[f"`{n}`", anchor(s)] for n, s in model.agent_events.items()])
    for s in model.schemas.values():
        if s.agent:
            lines += object_lines(model, s)
    return lines
