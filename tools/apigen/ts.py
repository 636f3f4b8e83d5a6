# SPDX-License-Identifier: Apache-2.0
"""web/src/api/types.ts, from the same bundle as openapi.json, so that the console sees what every client sees."""

from openapi import document
from text import BANNER


def ts_type(s, indent=""):
    if "$ref" in s:
        return s["$ref"].rpartition("/")[2]
    if "anyOf" in s:
        return " | ".join(ts_type(a, indent) for a in s["anyOf"])
    if "enum" in s:
        return " | ".join(f"'{v}'" for v in s["enum"])
    t = s.get("type")
    if isinstance(t, list):
        return " | ".join(ts_type(s | {"type": one}, indent) for one in t)
    if t == "array":
        inner = ts_type(s["items"], indent)
        return f"({inner})[]" if " | " in inner else f"{inner}[]"
    return {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null",
            "object": "Record<string, unknown>"}[t]


def comment(text, indent):
    return [f"{indent}/** {text.replace('*/', '* /')} */"] if text else []


def schema_lines(name, s):
    lines = comment(s.get("description"), "")
    if s.get("type") != "object":
        return lines + [f"export type {name} = {ts_type(s)}", ""]
    lines.append(f"export interface {name} {{")
    for field, p in s["properties"].items():
        lines += comment(p.get("description"), "  ")
        optional = "" if field in s.get("required", []) else "?"
        lines.append(f"  {field}{optional}: {ts_type(p)}")
    return lines + ["}", ""]


def operation_lines(doc):
    """A row for each operation: what a typed client needs."""
    body, rows = ["export interface Operations {"], ["export const operations = {"]
    for path, methods in doc["paths"].items():
        for method, op in methods.items():
            sends = next(iter(op.get("requestBody", {}).get("content", {}).items()), None)
            code, answer = next(iter(op["responses"].items()))
            gets = next(iter(answer.get("content", {}).values()), None)
            send_type = "undefined" if not sends else "Blob" if "octet" in sends[0] else ts_type(sends[1]["schema"])
            get_type = ts_type(gets["schema"]) if gets else "undefined"
            body.append(f"  {op['operationId']}: {{ body: {send_type}; result: {get_type} }}")
            rows.append(f"  {op['operationId']}: {{ method: '{method.upper()}', path: '{path}' }},")
    return body + ["}", ""] + rows + ["} as const", ""]


def source(model):
    doc = document(model)
    lines = ["// SPDX-License-Identifier: Apache-2.0", f"// {BANNER}", ""]
    for name in sorted(doc["components"]["schemas"]):
        lines += schema_lines(name, doc["components"]["schemas"][name])
    pairs = ", ".join(f"{s.kind}: {s.name}" for s in model.kinds)
    lines += ["/** What each kind's objects are. */", f"export interface Kinds {{ {pairs} }}",
              "export type Kind = keyof Kinds", ""]
    lines += ["/** The paths of lists, by kind. */", "export const plurals: Record<Kind, string> = {"]
    lines += [f"  {s.kind}: '{model.plural(s)}'," for s in model.kinds] + ["}", ""]
    return lines + ["/** What each operation takes and gives. */"] + operation_lines(doc)
