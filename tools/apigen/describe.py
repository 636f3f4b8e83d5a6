# SPDX-License-Identifier: Apache-2.0
"""web/src/api/description.ts: what the console has to know of the API at run time: who may do what, how the command line
says it, and what each field takes. Words for people are not in it: the console has its own, in its languages."""

import json

from cli import commands
from text import BANNER

FIELD_TYPE = """/** What a field takes. `ref`: an object of that kind, by id or name; `flag`: the command line's, without the dashes. */
export interface Field {
  type: 'string' | 'integer' | 'number' | 'boolean' | 'enum' | 'object' | 'json'
  array?: true
  /** The name of an enumeration's or an object's schema. */
  schema?: string
  values?: readonly string[]
  default?: unknown
  min?: number
  max?: number
  minLength?: number
  maxLength?: number
  maxItems?: number
  format?: string
  unit?: string
  ref?: string
  flag?: string
  /** The flag takes a file with the text. */
  file?: true
  required?: true
  create?: true
  change?: true
  /** Taken at creation, not part of the object. */
  input?: true
  fromTemplate?: true
}

export interface Schema {
  kind?: string
  columns?: readonly string[]
  fields: Record<string, Field>
}

export interface Operation {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  path: string
  /** 'none': without signing in; 'self': anybody who is signed in. */
  permission: string
  roles: readonly string[]
  /** The kind of job that does it. */
  job?: string
  /** The schema of its body and what it does: create, change or neither. */
  body?: readonly [schema: string, mode: 'create' | 'change' | '']
  /** The schema whose fields are its own query parameters. */
  query?: string
  /** The schema of its answer; list:NAME for a page of them. */
  result?: string
  cli?: { object: string; verb?: string; args: readonly string[]; special?: true }
}
"""


def field(model, f):
    out = {"type": f.kind}
    if f.array:
        out["array"] = True
    if f.kind in ("enum", "object"):
        out["schema"] = f.type_name
    values = model.enums[f.type_name].values if f.kind == "enum" else f.choices
    if values:
        out["values"] = values
    if "default" in f.raw:
        out["default"] = f.raw["default"]
    for ours, theirs in (("min", "minimum"), ("max", "maximum"), ("minLength", "minLength"), ("maxLength", "maxLength"),
                         ("format", "format"), ("unit", "x-unit")):
        value = f.constraint(theirs, f.key(theirs))
        if value is not None:
            out[ours] = value
    if f.key("maxItems"):
        out["maxItems"] = f.key("maxItems")
    if f.ref:
        out["ref"] = f.ref
    usable = f.creatable or f.changeable
    if usable and f.flag:
        out["flag"] = f.flag
    flags = {"file": f.key("x-cli-file"), "required": f.required, "create": f.creatable, "change": f.changeable,
             "input": f.input, "fromTemplate": f.key("x-from-template")}
    return out | {name: True for name, on in flags.items() if on}


def operation(op, command):
    out = {"method": op.method, "path": op.path, "permission": op.key("x-permission"), "roles": op.roles}
    if op.key("x-job"):
        out["job"] = op.key("x-job")
    if op.body:
        out["body"] = [op.body[0], op.body[1]]
    if op.query:
        out["query"] = op.query
    if op.result:
        out["result"] = ("list:" if op.result[1] else "") + op.result[0]
    if command:
        out["cli"] = {"object": command.object}
        if command.verb:
            out["cli"]["verb"] = command.verb
        out["cli"]["args"] = command.args
        if command.special:
            out["cli"]["special"] = True
    return out


def ts_value(value):
    """As a TypeScript literal, one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k}: {ts_value(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(ts_value(v) for v in value) + "]"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return json.dumps(value)


def shown(model):
    """The manager's own schemas: what agents send is not the console's affair."""
    return [s for s in model.schemas.values() if not s.agent]


def source(model):
    by_operation = {c.op.name: c for c in commands(model)}
    lines = ["// SPDX-License-Identifier: Apache-2.0", f"// {BANNER}", "", *FIELD_TYPE.split("\n")]
    lines += ["export const roles = " + ts_value(list(model.roles)) + " as const", ""]
    lines += ["export const description: Record<string, Operation> = {"]
    lines += [f"  {op.name}: {ts_value(operation(op, by_operation.get(op.name)))}," for op in model.operations]
    lines += ["}", "", "export const enums: Record<string, readonly string[]> = {"]
    lines += [f"  {e.name}: {ts_value(e.values)}," for e in model.enums.values()]
    lines += ["}", "", "export const schemas: Record<string, Schema> = {"]
    for s in shown(model):
        head = (f" kind: '{s.kind}'," if s.kind else "") + (f" columns: {ts_value(s.columns)}," if s.columns else "")
        lines += [f"  {s.name}: {{{head} fields: {{"]
        lines += [f"    {f.name}: {ts_value(field(model, f))}," for f in s.fields if not f.internal]
        lines += ["  } },"]
    return lines + ["}"]
