# SPDX-License-Identifier: Apache-2.0
"""openapi.json as clients want it: x- keys gone, bodies of creation and change as schemas of their own."""

import json

from text import c_head

KEEP = ["description", "format", "minLength", "maxLength", "minimum", "maximum", "maxItems", "default"]


def ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


class Bundle:
    """Collects the schemas that are used, in three modes: show (answers), create and change (bodies)."""

    def __init__(self, model):
        self.model = model
        self.schemas = {}

    def plain(self, schema):
        """The same in all three modes."""
        return all(not (f.read_only or f.write_only or f.input or f.key("x-immutable") or f.required) and
                   (f.kind != "object" or self.plain(self.model.schemas[f.type_name])) for f in schema.fields)

    def name(self, schema, mode):
        own = mode == "show" or not schema.kind and (self.plain(schema) or any(f.required for f in schema.fields))
        name = schema.name + ("" if own else mode.capitalize())
        if name not in self.schemas:
            self.schemas[name] = {}  # taken, for those that come by again
            self.schemas[name] = self.object(schema, mode)
        return name

    def enum(self, name):
        e = self.model.enums[name]
        self.schemas.setdefault(name, {"type": "string", "enum": e.values})
        if e.description:
            self.schemas[name]["description"] = e.description
        return ref(name)

    def value(self, f, raw, mode):
        """Without the array round it."""
        if f.kind == "enum":
            return self.enum(f.type_name)
        if f.kind == "object":
            return ref(self.name(self.model.schemas[f.type_name], mode))
        if f.kind == "json":
            return {"type": "object", "additionalProperties": True}
        out = {"type": f.kind}
        if f.choices:
            out["enum"] = f.choices
        return out | {k: raw[k] for k in KEEP if k in raw}

    def property(self, f, mode):
        if f.array:
            out = {"type": "array", "items": self.value(f, f.item, mode)}
        else:
            out = self.value(f, f.raw, mode)
        for key in KEEP:
            if key in f.raw and (f.array or f.kind in ("enum", "object", "json")):
                out = out | {key: f.raw[key]}
        if mode == "change":
            out = {k: v for k, v in out.items() if k != "default"}
            if not f.required:
                if isinstance(out.get("type"), str) and "enum" not in out:
                    out["type"] = [out["type"], "null"]
                else:
                    description = {k: out.pop(k) for k in ["description"] if k in out}
                    out = description | {"anyOf": [out, {"type": "null"}]}
        return out

    def object(self, schema, mode):
        allowed = {"show": lambda f: not f.write_only and not f.input, "create": lambda f: f.creatable,
                   "change": lambda f: f.changeable}[mode]
        fields = [f for f in schema.fields if allowed(f)]
        required = [f.name for f in fields if f.required] if mode == "create" else []
        if mode == "show":  # everything is always there but what may not exist
            required = [f.name for f in fields if (f.kind not in ("object", "json") or f.array) and not f.optional]
        out = {"type": "object"}
        if schema.description:
            out["description"] = schema.description
        out["properties"] = {f.name: self.property(f, mode) for f in fields}
        if required:
            out["required"] = required
        if mode != "show":
            out["additionalProperties"] = False
        return out


def content(schema, *types):
    return {"content": {t: {"schema": schema} for t in types or ["application/json"]}}


def page(bundle, schema):
    name = schema.name + "Page"
    bundle.schemas[name] = {
        "type": "object", "required": ["items", "revision"],
        "properties": {"items": {"type": "array", "items": ref(bundle.name(schema, "show"))},
                       "next": {"type": "string", "description": "The cursor of the next page; absent on the last one"},
                       "total": {"type": "integer", "description": "How many there are; absent with a filter"},
                       "revision": {"type": "integer", "description": "The inventory's revision"}}}
    return ref(name)


def query_parameters(model, op):
    """The fields of its x-query, each by itself; enumerations are spelt out."""
    out = []
    for f in model.schemas[op.query].fields if op.query else []:
        schema = {"type": "string" if f.kind == "enum" else f.kind}
        if f.kind == "enum" or f.choices:
            schema["enum"] = f.choices or model.enums[f.type_name].values
        schema |= {k: f.raw[k] for k in KEEP if k in f.raw and k != "description"}
        one = {"name": f.name, "in": "query", "schema": schema}
        if f.required:
            one["required"] = True
        out.append(one | ({"description": f.description} if f.description else {}))
    return out


def parameters(model, op):
    out = []
    for name in op.path_params:
        out.append({"name": name, "in": "path", "required": True, "schema": {"type": "string"},
                    "description": f"Its id or its name ({model.kind(name).name})"})
    common = {id(p): n for n, p in model.parameters.items()}
    for p in op.parameters:
        out.append({"$ref": f"#/components/parameters/{common[id(p)]}"} if id(p) in common else p)
    if op.body and op.body[1] == "change":
        out.append({"$ref": "#/components/parameters/if-match"})
    return out + query_parameters(model, op)


def answer(bundle, op):
    if op.key("x-websocket"):
        return {"101": {"description": "The WebSocket is open"}}
    out = {"description": "The job that does it" if op.key("x-job") else "Done"}
    if op.result:
        name, is_list = op.result
        if name == "text":
            out |= content({"type": "string"}, "text/plain")
        else:
            schema = bundle.model.schemas[name]
            out |= content(page(bundle, schema) if is_list else ref(bundle.name(schema, "show")))
    return {str(op.status): out}


def operation(bundle, op):
    out = {"operationId": op.name, "tags": op.raw["tags"], "summary": op.key("summary")}
    allowed = {"none": "Needs no sign-in.", "self": "For any signed-in user."}
    out["description"] = allowed.get(op.key("x-permission"), f"Needs the permission {op.key('x-permission')} "
                                                             f"({', '.join(op.roles)}).")
    if op.key("x-permission") == "none":
        out["security"] = []
    if parameters(bundle.model, op):
        out["parameters"] = parameters(bundle.model, op)
    if op.body:
        schema = bundle.model.schemas[op.body[0]]
        mode = "change" if op.body[1] == "change" else "create"
        types = ["application/merge-patch+json", "application/json"] if mode == "change" else ["application/json"]
        needed = mode == "change" or any(f.required for f in schema.fields)
        out["requestBody"] = {"required": needed, **content(ref(bundle.name(schema, mode)), *types)}
    elif op.key("x-stream"):
        out["requestBody"] = {"required": True, **content({}, "application/octet-stream")}
    out["responses"] = answer(bundle, op) | {"default": {"$ref": "#/components/responses/Error"}}
    return out


def document(model):
    bundle = Bundle(model)
    paths = {}
    for op in model.operations:
        paths.setdefault(op.path, {})[op.method.lower()] = operation(bundle, op)
    bundle.name(model.schemas["StreamMessage"], "show")
    error = bundle.name(model.schemas["Error"], "show")
    bundle.schemas[error]["required"] = ["code", "message"]
    if_match = {"name": "If-Match", "in": "header", "schema": {"type": "string"},
                "description": "The ETag of the object as it was read; 412 if it has changed since"}
    return {
        "openapi": "3.1.0",
        "info": {"title": model.title, "version": model.version,
                 "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": model.base}],
        "security": [{"token": []}],
        "tags": [{"name": t} for t in dict.fromkeys(op.tag for op in model.operations)],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer",
                                          "description": "The secret of a session or of an API token"}},
            "parameters": dict(model.parameters) | {"if-match": if_match},
            "responses": {"Error": {"description": "Refused or failed; the code says why", **content(
                {"type": "object", "required": ["error"], "properties": {"error": ref(error)}})}},
            "schemas": bundle.schemas,
        },
    }


def source_json(model):
    return [json.dumps(document(model), indent=1, ensure_ascii=False)]


def source_c(model):
    """As numbers: a string literal of this length is more than C promises to take."""
    data = json.dumps(document(model), separators=(",", ":"), ensure_ascii=False).encode()
    lines = c_head("What the manager serves as openapi.json.", "api/api.h")
    lines.append("const char api_openapi_json[] = {")
    for i in range(0, len(data), 28):
        lines.append("    " + ",".join(str(b if b < 128 else b - 256) for b in data[i:i + 28]) + ",")
    return lines + ["    0};", f"const size_t api_openapi_json_len = {len(data)};"]
