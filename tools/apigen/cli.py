# SPDX-License-Identifier: Apache-2.0
"""The CLI's commands: the rows of src/api/cli_table.h, and what docs.py says of them."""

from dataclasses import dataclass, field as dc_field

from model import check, upper
from text import c_head, c_row, c_string


@dataclass
class Flag:
    name: str
    path: str
    type: str
    help: str
    list: bool = False
    file: bool = False
    query: bool = False
    required: bool = False
    min: int | None = None
    max: int | None = None
    choices: list = dc_field(default_factory=list)
    default: str | None = None
    ref: str | None = None
    sub: str | None = None  # a schema's name


@dataclass
class Command:
    op: object
    object: str
    verb: str
    special: bool
    args: list  # of (name, body field or "", kind or "", help)
    flags: list


def size_text(n):
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if n and n % (1 << shift) == 0:
            return f"{n >> shift}{unit}"
    return str(n)


def default_text(f):
    value = f.key("default")
    if value in (None, "", False) or f.kind == "object":
        return "the template's" if f.key("x-from-template") else None
    text = ",".join(map(str, value)) if f.array else size_text(value) if f.key("x-unit") == "bytes" else str(value).lower() \
        if isinstance(value, bool) else str(value)
    return f"the template's, else {text}" if f.key("x-from-template") else text


def value_type(f):
    if f.kind in ("enum", "string") and (f.kind == "enum" or f.choices):
        return "CHOICE"
    return {"string": "TEXT", "integer": "SIZE" if f.key("x-unit") == "bytes" else "INTEGER", "number": "NUMBER",
            "boolean": "SWITCH", "object": "OBJECT", "json": "OBJECT"}[f.kind]


def field_flag(model, f, path, creating):
    choices = model.enums[f.type_name].values if f.kind == "enum" else f.choices
    numeric = f.kind in ("integer", "number")
    return Flag(f.flag, path, value_type(f), f.description, list=f.array, file=bool(f.key("x-cli-file")),
                required=creating and f.required, min=f.constraint("minimum") if numeric else None,
                max=f.constraint("maximum") if numeric else None, choices=choices,
                default=default_text(f) if creating else None, ref=f.key("x-ref") or f.constraint("x-ref"),
                sub=f.type_name if f.kind == "object" else None)


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
            flags.append(field_flag(model, f, prefix + f.name, creating))
    return flags


def query_flag(p):
    s = p["schema"]
    kind = "CHOICE" if "enum" in s else {"string": "TEXT", "integer": "INTEGER", "boolean": "SWITCH"}[s["type"]]
    default = s.get("default")
    return Flag(p["name"].replace("_", "-"), p["name"], kind, p.get("description", ""), query=True, min=s.get("minimum"),
                max=s.get("maximum"), choices=s.get("enum", []), default=None if default is None else str(default))


def commands(model):
    out = []
    for op in model.operations:
        cli = op.key("x-cli")
        if not cli:
            continue
        body, args = op.body, []
        for name in cli.get("args", []):
            if name in op.path_params:
                kind = model.kind(name)
                args.append((name, "", kind.kind, f"Name or id of the {name}"))
            else:
                f = model.schemas[body[0]].field(name) if body else None
                check(f is not None, op.name, f"x-cli has the argument {name}, which is neither in the path nor in the body")
                args.append((name, f.name, "", f.description))
        check({a[0] for a in args} >= set(op.path_params), op.name, "x-cli leaves out a path parameter")
        flags = []
        if body:
            flags = body_flags(model, model.schemas[body[0]], body[1] != "change", {a[1] for a in args})
        flags += [query_flag(p) for p in op.parameters]
        names = [f.name for f in flags]
        for name in names:
            check(names.count(name) == 1, op.name, f"two flags are called --{name}; give one an x-cli of its own")
        out.append(Command(op, cli["object"], cli.get("verb", ""), bool(cli.get("special")), args, flags))
    pairs = [(c.object, c.verb) for c in out]
    for pair in pairs:
        check(pairs.count(pair) == 1, " ".join(pair), "two operations have this command")
    return out


def limit(value, edge):
    return edge if value is None else f"INT64_C({value})"


def flag_row(flag, choices):
    row = [f'.name = "{flag.name}"', f'.field = "{flag.path}"', f".type = CLI_{flag.type}"]
    row += [f".{k} = true" for k in ("list", "file", "query", "required") if getattr(flag, k)]
    row += [f".min = {limit(flag.min, 'INT64_MIN')}", f".max = {limit(flag.max, 'INT64_MAX')}"]
    if flag.choices:
        row.append(f".choices = {choices[tuple(flag.choices)]}")
    for k in ("default", "ref"):
        if getattr(flag, k):
            row.append(f".{k}{'_text' if k == 'default' else ''} = {c_string(getattr(flag, k))}")
    if flag.sub:
        row.append(f".sub = {flag.sub.lower()}_keys")
    return c_row(row + [f".help = {c_string(flag.help)}"])


def flag_table(name, flags, choices):
    lines = [f"static const struct cli_flag {name}[] = {{"]
    for flag in flags:
        lines += flag_row(flag, choices)
    return lines + ["    {0},", "};"]


def title(path):
    parts = [p for p in path.split(".") if not p.isdigit()]
    last = parts[-2] if len(parts) > 1 and parts[-1] == "name" else parts[-1]
    return last.replace("_", " ").upper()


def column_row(model, schema, path):
    f = model.resolve(schema, path)
    kind = "TIME" if f.constraint("format") == "date-time" else "TEXT" if value_type(f) == "CHOICE" else value_type(f)
    row = [f'.path = "{path}"', f'.title = "{title(path)}"', f".type = CLI_{kind}"]
    if f.array:
        row.append(".list = true")
    ref = f.key("x-ref") or f.constraint("x-ref")
    if ref:
        row.append(f".ref = {c_string(ref)}")
    if f.kind == "object":
        row.append(f".sub = {model.schemas[f.type_name].snake}_fields")
    return c_row(row)


def column_table(model, schema, name, paths):
    lines = [f"static const struct cli_column {name}[] = {{"]
    for path in paths:
        lines += column_row(model, schema, path)
    return lines + ["    {0},", "};"]


def reachable(model, names):
    """These schemas and all that they embed, embedded ones first."""
    todo, wanted = list(names), set()
    while todo:
        name = todo.pop()
        if name in wanted:
            continue
        wanted.add(name)
        todo += [f.type_name for f in model.schemas[name].fields if f.kind == "object" and not f.write_only and not f.input]
    return [s for s in model.ordered() if s.name in wanted]


def command_row(model, c):
    op, n = c.op, c.op.name
    row = [f'.object = "{c.object}"', f".verb = {c_string(c.verb or None)}", f".op = API_OP_{upper(n)}"]
    if c.special:
        row.append(".special = true")
    if op.body:
        row.append(".body = true")
    row += [f".args = {n}_args", f".flags = {n}_flags"]
    schema = model.schemas.get(op.result[0]) if op.result else None
    if schema and schema.kind:
        row.append(f".columns = {schema.snake}_columns")
    if schema:
        row.append(f".fields = {schema.snake}_fields")
    return c_row(row)


def source(model):
    lines = c_head("The CLI's commands; src/api/cli_table.h says what the rows mean.", "api/cli_table.h")
    table = commands(model)
    subs = sorted({f.sub for c in table for f in c.flags if f.sub})
    keys = {name: body_flags(model, model.schemas[name], True) for name in subs}
    choices = {}
    for flag in [f for c in table for f in c.flags] + [f for flags in keys.values() for f in flags]:
        if flag.choices and tuple(flag.choices) not in choices:
            choices[tuple(flag.choices)] = f"choices_{len(choices)}"
    for values, name in choices.items():
        lines.append(f"static const char *const {name}[] = {{{', '.join(c_string(v) for v in values)}, NULL}};")
    for name in subs:
        lines += flag_table(f"{name.lower()}_keys", keys[name], choices)
    for s in reachable(model, [c.op.result[0] for c in table if c.op.result and c.op.result[0] != "text"] +
                       [k.name for k in model.kinds]):
        lines += column_table(model, s, f"{s.snake}_fields", [f.name for f in s.fields if not f.write_only and not f.input])
        if s.kind:
            lines += column_table(model, s, f"{s.snake}_columns", s.columns)
    for c in table:
        lines.append(f"static const struct cli_arg {c.op.name}_args[] = {{")
        for name, field, ref, text in c.args:
            lines += c_row([c_string(name), c_string(field or None), c_string(ref or None), c_string(text)])
        lines += ["    {0},", "};"] + flag_table(f"{c.op.name}_flags", c.flags, choices)
    lines.append("const struct cli_command api_cli_commands[] = {")
    for c in table:
        lines += command_row(model, c)
    lines += ["    {0},", "};", f"const size_t api_cli_n_commands = {len(table)};", ""]
    lines.append("const struct cli_column *const api_cli_columns[API_KIND_COUNT] = {")
    lines += [f"    [API_KIND_{upper(s.kind)}] = {s.snake}_columns," for s in model.kinds]
    return lines + ["};"]
