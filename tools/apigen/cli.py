# SPDX-License-Identifier: Apache-2.0
"""The CLI's commands: the rows of src/api/cli_table.h, and what docs.py says of them."""

import json
import os
import re
from dataclasses import dataclass, field as dc_field

from model import check, snake
from text import c_head, c_row, c_string


@dataclass
class Flag:
    name: str
    path: str
    type: str
    help: str
    array: bool = False
    required: bool = False
    min: int | None = None
    max: int | None = None
    choices: list = dc_field(default_factory=list)
    ref: str | None = None
    default: str | None = None
    members: tuple | None = None  # (a schema's name, whether it is created)


@dataclass
class Command:
    op: object
    object: str
    verb: str
    special: bool
    args: list  # path parameters and body fields, by position
    flags: list


def help_text(f, creating):
    inherited = "default: the template's" if creating and f.key("x-from-template") else ""
    return "; ".join(filter(None, [f.description, inherited]))


def size_text(n):
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if n and n % (1 << shift) == 0:
            return f"{n >> shift}{unit}"
    return str(n)


def default_words(f):
    """For people."""
    value = f.key("default")
    text = size_text(value) if f.key("x-unit") == "bytes" else value if isinstance(value, str) else json.dumps(value)
    return f"the template's, else {text}" if f.key("x-from-template") else text


def default_text(f):
    """As JSON, but for what the template may give otherwise."""
    value = None if f.key("x-from-template") else f.key("default")
    return None if value in (None, "") else json.dumps(value)


def value_type(f):
    if f.kind == "enum" or f.choices:
        return "ENUM"
    if f.constraint("format") == "date-time":
        return "TIME"
    integer = {"bytes": "SIZE", "seconds": "SECONDS"}.get(f.key("x-unit"), "INTEGER")
    number = "RATE" if f.key("x-unit") == "bytes/s" else "NUMBER"
    return {"string": "STRING", "integer": integer, "number": number, "boolean": "BOOLEAN", "object": "OBJECT",
            "json": "JSON"}[f.kind]


def field_flag(model, f, prefix, creating):
    choices = model.enums[f.type_name].values if f.kind == "enum" else f.choices
    numeric = f.kind in ("integer", "number")
    return Flag(f.flag, prefix + f.name,
                "FILE" if f.key("x-cli-file") else value_type(f), help_text(f, creating), f.array,
                creating and f.required,
                f.constraint("minimum") if numeric else None, f.constraint("maximum") if numeric else None, choices,
                f.ref, default_text(f) if creating else None,
                (f.type_name, creating) if f.kind == "object" else None)


def body_flags(model, schema, creating, skip=(), prefix=""):
    """A nested object's fields become flags of their own, an array's objects keys of one flag."""
    flags = []
    for f in schema.fields:
        usable = f.creatable if creating else f.changeable
        if not usable or f.flag is None or f.name in skip or f.kind == "json":
            continue
        if f.kind == "object" and not f.array:
            flags += body_flags(model, model.schemas[f.type_name], creating, prefix=f"{prefix}{f.name}.")
        else:
            flags.append(field_flag(model, f, prefix, creating))
    return flags


def commands(model):
    out = []
    for op in model.operations:
        cli = op.key("x-cli")
        if not cli:
            continue
        body, args = op.body or (op.query and (op.query, "")), []
        check(not (op.body and op.query), op.name, "a command has a body or a query, not both")
        for name in cli.get("args", []):
            known = name in op.path_params or (body and model.schemas[body[0]].field(name))
            check(known, op.name, f"x-cli has the argument {name}, which is neither in the path nor in the body")
            args.append(name)
        check(set(args) >= set(op.path_params), op.name, "x-cli leaves out a path parameter")
        check(len(args) <= 2, op.name, "x-cli has more than two arguments")
        flags = []
        if body:
            flags = body_flags(model, model.schemas[body[0]], body[1] != "change",
                               set(args) - set(op.path_params))
        names = [f.name for f in flags]
        for name in names:
            check(names.count(name) == 1, op.name, f"two flags are called --{name}; give one an x-cli of its own")
        out.append(Command(op, cli["object"], cli.get("verb", ""), bool(cli.get("special")), args, flags))
    pairs = [(c.object, c.verb) for c in out]
    for pair in pairs:
        check(pairs.count(pair) == 1, " ".join(pair), "two operations have this command")
    return out


@dataclass
class Special:
    object: str
    verb: str
    summary: str | None
    usage: str | None
    options: bool


def specials():
    """The commands that have code of their own, by (object, verb), as src/cli/special.c has them. How such a command is
    written, and whether there is one without an operation, stands only there."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(os.path.join(root, "src/cli/special.c"), encoding="utf-8") as f:
        text = f.read()
    table = text[text.index("const struct special specials[]"):text.index("const size_t n_specials")]
    out = {}
    for row in table.split("{{")[1:]:
        # What is written in pieces, over several lines, is one text in C.
        texts = {key: "".join(json.loads(piece) for piece in re.findall(r'"(?:[^"\\]|\\.)*"', value)) for key, value in
                 re.findall(r'\.(object|verb|summary|usage) =\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', row)}
        check("object" in texts and "verb" in texts, "src/cli/special.c", "a row has no object or no verb")
        out[texts["object"], texts["verb"]] = Special(texts["object"], texts["verb"], texts.get("summary"),
                                                      texts.get("usage"), ".options =" in row)
    check(out, "src/cli/special.c", "no special commands are found")
    return out


def limits(flag):
    """As the header wants them: both 0 for none."""
    if flag.min is None and flag.max is None:
        return []
    low = "INT64_MIN" if flag.min is None else f"INT64_C({flag.min})"
    return [f".min = {low}", f".max = {'INT64_MAX' if flag.max is None else f'INT64_C({flag.max})'}"]


def keys_name(members):
    return f"{snake(members[0])}_{'keys' if members[1] else 'change_keys'}"


def flag_table(name, flags, choices):
    lines = [f"static const struct api_cli_flag {name}[] = {{"]
    for flag in flags:
        row = [f'.name = "{flag.name}"', f'.path = "{flag.path}"', f".type = API_CLI_{flag.type}"]
        row += [f".{k} = true" for k in ("array", "required") if getattr(flag, k)] + limits(flag)
        if flag.choices:
            row.append(f".choices = {choices[tuple(flag.choices)]}")
        if flag.ref:
            row.append(f".ref = {c_string(flag.ref)}")
        if flag.default is not None:
            row.append(f".text_default = {c_string(flag.default)}")
        if flag.members:
            row.append(f".members = {keys_name(flag.members)}")
        lines += c_row(row + [f".help = {c_string(flag.help)}"])
    return lines + ["    {0},", "};"]


def visible(schema):
    return [f for f in schema.fields if not f.write_only and not f.input]


def reachable(model, names):
    """These schemas and all that they show, embedded ones first."""
    todo, wanted = list(names), set()
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += [f.type_name for f in visible(model.schemas[name]) if f.kind == "object"]
    return [s for s in model.ordered() if s.name in wanted]


def view_lines(model, s):
    lines = [f"static const struct api_cli_field {s.snake}_fields[] = {{"]
    for f in visible(s):
        row = [f'"{f.name}"', f"API_CLI_{value_type(f)}", str(f.array).lower(), c_string(f.ref),
               f"&{model.schemas[f.type_name].snake}_view" if f.kind == "object" else "NULL"]
        lines += c_row(row)
    lines += ["    {0},", "};"]
    columns = "NULL"
    if s.columns:
        columns = f"{s.snake}_columns"
        lines += [f"static const char *const {columns}[] = {{{', '.join(c_string(c) for c in s.columns)}, NULL}};"]
    return lines + [f'static const struct api_cli_view {s.snake}_view = {{"{s.snake}", {c_string(s.kind or None)}, '
                    f'{c_string(model.plural(s) if s.kind else None)}, {s.snake}_fields, {columns}}};']


def command_row(model, c):
    op = c.op
    row = [f'.object = "{c.object}"', f'.verb = "{c.verb}"', f'.operation = "{op.name}"',
           f".summary = {c_string(op.key('summary'))}", f'.method = "{op.method}"', f'.path = "{op.path}"']
    if c.args:
        row.append(f".args = {{{', '.join(c_string(a) for a in c.args)}}}")
    first = model.schemas[op.body[0]].field(c.args[0]) if op.body and c.args else None
    flags = {"on_off": first and first.kind == "boolean" and c.args[0] not in op.path_params,
             "list": op.result and op.result[1], "job": op.key("x-job") or op.key("x-cli").get("job"), "change": op.body and op.body[1] == "change",
             "special": c.special, "query": op.query}
    row += [f".{k} = true" for k, on in flags.items() if on]
    if op.body or op.query:
        row.append(f".flags = {op.name}_flags")
    if op.result and op.result[0] in model.schemas:
        row.append(f".result = &{model.schemas[op.result[0]].snake}_view")
    return c_row(row)


def source(model):
    lines = c_head("The CLI's commands; src/api/cli_table.h says what the rows mean.", "api/cli_table.h")
    table = commands(model)
    subs = sorted({f.members for c in table for f in c.flags if f.members})
    keys = {sub: body_flags(model, model.schemas[sub[0]], sub[1]) for sub in subs}
    choices = {}
    for flag in [f for c in table for f in c.flags] + [f for flags in keys.values() for f in flags]:
        if flag.choices and tuple(flag.choices) not in choices:
            choices[tuple(flag.choices)] = f"choices_{len(choices)}"
    for values, name in choices.items():
        lines.append(f"static const char *const {name}[] = {{{', '.join(c_string(v) for v in values)}, NULL}};")
    for sub in subs:
        check(not any(f.members for f in keys[sub]), sub[0], "lists of objects inside lists have no flags")
        lines += flag_table(keys_name(sub), keys[sub], choices)
    results = [c.op.result[0] for c in table if c.op.result and c.op.result[0] in model.schemas]
    for s in reachable(model, results + [k.name for k in model.kinds]):
        lines += view_lines(model, s)
    for c in table:
        if c.op.body or c.op.query:
            lines += flag_table(f"{c.op.name}_flags", c.flags, choices)
    lines.append("const struct api_cli_command api_cli_commands[] = {")
    for c in table:
        lines += command_row(model, c)
    lines += ["};", f"const size_t api_cli_n_commands = {len(table)};", ""]
    lines.append("const struct api_cli_view *const api_cli_views[] = {")
    return lines + [f"    &{s.snake}_view," for s in model.kinds] + ["    NULL,", "};"]
