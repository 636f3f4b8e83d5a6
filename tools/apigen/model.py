# SPDX-License-Identifier: Apache-2.0
"""Reads api/tarn.yaml and api/agent.yaml into a checked model; every writer works from it and never from the YAML."""

import fnmatch
import re
from dataclasses import dataclass, field as dc_field

import yaml

METHODS = ["get", "post", "put", "patch", "delete"]
RESERVED = set("""auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool
true false linux unix errno""".split())
SCHEMA_KEYS = {"type", "enum", "description", "properties", "required", "x-kind", "x-columns"}
FIELD_KEYS = {"type", "enum", "description", "format", "minLength", "maxLength", "minimum", "maximum", "maxItems",
              "default", "items", "additionalProperties", "readOnly", "writeOnly", "$ref", "x-input", "x-immutable",
              "x-create", "x-unit", "x-ref", "x-cli", "x-cli-file", "x-from-template", "x-internal", "x-changeable",
              "x-optional"}
OP_KEYS = {"operationId", "tags", "summary", "description", "parameters", "x-permission", "x-where", "x-job", "x-body",
           "x-result", "x-cli", "x-stream", "x-websocket", "x-query"}
FORMATS = {"uuid", "name", "path", "mac", "date-time", "label"}


class Problem(Exception):
    """Something in the description is wrong; the text says where."""


def check(ok, where, message):
    if not ok:
        raise Problem(f"{where}: {message}")


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def upper(text):
    return re.sub(r"[^A-Za-z0-9]", "_", text).upper()


@dataclass
class Enum:
    name: str
    values: list
    description: str

    @property
    def snake(self):
        return snake(self.name)

    def const(self, value):
        return f"API_{upper(self.snake)}_{upper(value)}"


@dataclass
class Field:
    """One property. kind: string, integer, number, boolean, enum, object (has a schema), json (free-form)."""
    name: str
    kind: str
    raw: dict
    array: bool = False
    type_name: str = ""  # the schema of an enum or object
    choices: list = dc_field(default_factory=list)  # of a string with an enum of its own
    required: bool = False  # at creation
    item: dict = dc_field(default_factory=dict)  # of an array, the items' keys

    def key(self, name, default=None):
        return self.raw.get(name, default)

    def constraint(self, name, default=None):
        """minimum, format … stand beside items for an array's elements."""
        return (self.item if self.array else self.raw).get(name, default)

    @property
    def ref(self):
        """The kind to whose objects it refers."""
        return self.key("x-ref") or self.constraint("x-ref")

    @property
    def description(self):
        return self.raw.get("description", "")

    @property
    def internal(self):
        return bool(self.key("x-internal"))

    @property
    def read_only(self):
        return bool(self.key("readOnly"))

    @property
    def write_only(self):
        return bool(self.key("writeOnly")) or self.internal

    @property
    def optional(self):
        """A number that may not be known: NAN in C, absent in JSON."""
        return bool(self.key("x-optional"))

    @property
    def input(self):
        return bool(self.key("x-input"))

    @property
    def change_only(self):
        return self.key("x-create") == "never"

    @property
    def sendable(self):
        return not (self.read_only or self.internal)

    @property
    def creatable(self):
        return self.sendable and not self.change_only

    @property
    def changeable(self):
        return self.sendable and not self.key("x-immutable") and (not self.input or bool(self.key("x-changeable")))

    @property
    def flag(self):
        cli = self.key("x-cli")
        return None if cli is False else (cli or self.name.replace("_", "-"))


@dataclass
class Schema:
    name: str
    fields: list
    description: str
    kind: str = ""
    columns: list = dc_field(default_factory=list)
    agent: bool = False  # described in agent.yaml

    @property
    def snake(self):
        return snake(self.name)

    def field(self, name):
        return next((f for f in self.fields if f.name == name), None)


@dataclass
class Operation:
    name: str
    method: str
    path: str
    raw: dict
    roles: list
    parameters: list

    def key(self, name, default=None):
        return self.raw.get(name, default)

    @property
    def tag(self):
        return self.raw["tags"][0]

    @property
    def shell(self):
        return self.key("x-where", "core") == "shell"

    @property
    def path_params(self):
        return re.findall(r"{(\w+)}", self.path)

    @property
    def body(self):
        """(schema name, create|change|"") or None"""
        body = self.key("x-body")
        return tuple(body.partition(".")[::2]) if body else None

    @property
    def query(self):
        """The schema whose fields are its query parameters, or None"""
        return self.key("x-query")

    @property
    def status(self):
        """Of success."""
        if self.key("x-websocket"):
            return 101
        if self.key("x-job"):
            return 202
        if self.method == "POST" and self.name.endswith("_create"):
            return 201
        return 200 if self.result else 204

    @property
    def result(self):
        """(schema name or "text", is a list) or None"""
        result = self.key("x-result")
        if not result:
            return None
        return (result[5:], True) if result.startswith("list:") else (result, False)


@dataclass
class AgentOp:
    name: str
    args: str
    result: str
    once: bool
    cancel: bool


@dataclass
class Model:
    title: str
    version: str
    base: str
    roles: dict
    enums: dict
    schemas: dict
    operations: list
    parameters: dict
    protocol: int
    agent_ops: list
    agent_events: dict

    @property
    def kinds(self):
        return [s for s in self.schemas.values() if s.kind]

    def kind(self, name):
        return next((s for s in self.kinds if s.kind == name), None)

    def plural(self, schema):
        """The path under which a kind is listed."""
        return next(o.path.strip("/") for o in self.operations if o.result == (schema.name, True))

    def ordered(self):
        """Schemas so that each comes after those that it embeds."""
        done, out = set(), []

        def visit(s, trail):
            check(s.name not in trail, s.name, "contains itself")
            if s.name in done:
                return
            for f in s.fields:
                if f.kind == "object":
                    visit(self.schemas[f.type_name], trail + [s.name])
            done.add(s.name)
            out.append(s)

        for s in self.schemas.values():
            visit(s, [])
        return out

    def resolve(self, schema, path):
        """The field at a dotted path such as hypervisors.0.accelerator."""
        f = None
        for part in path.split("."):
            if part.isdigit():
                check(f is not None and f.array, f"{schema.name}: {path}", "an index where there is no array")
                continue
            owner = schema if f is None else self.schemas.get(f.type_name)
            f = owner.field(part) if owner else None
            check(f is not None, f"{schema.name}: {path}", f"no field {part}")
        return f


def read_field(name, raw, where, enums, schemas):
    usable = re.fullmatch(r"[a-z][a-z0-9_]*", name) and name not in RESERVED
    check(usable, where, "not usable as a member of a C struct")
    check(not set(raw) - FIELD_KEYS, where, f"unknown keys {sorted(set(raw) - FIELD_KEYS)}")
    f = Field(name, "", raw)
    t = raw
    if raw.get("type") == "array":
        f.array, f.item = True, raw.get("items", {})
        t = f.item
        check(not set(t) - FIELD_KEYS, where, f"unknown keys {sorted(set(t) - FIELD_KEYS)}")
    if "$ref" in t:
        f.type_name = t["$ref"].rpartition("/")[2]
        check(f.type_name in enums or f.type_name in schemas, where, f"no schema {f.type_name}")
        f.kind = "enum" if f.type_name in enums else "object"
    elif t.get("type") == "object":
        check("properties" not in t, where, "an object with properties needs a schema of its own")
        check(not f.array, where, "arrays of free-form objects are not supported")
        f.kind = "json"
    else:
        f.kind = t.get("type", "")
        check(f.kind in ("string", "integer", "number", "boolean"), where, f"unknown type {f.kind!r}")
        f.choices = t.get("enum", [])
    fmt = t.get("format")
    check(fmt is None or fmt in FORMATS, where, f"unknown format {fmt}")
    check("default" not in raw or f.kind != "object" or f.array, where, "an object cannot have a default")
    if f.kind == "enum" and not f.array and "default" in raw:
        check(raw["default"] in enums[f.type_name].values, where, "the default is not one of the values")
    check(not f.optional or (f.kind == "number" and not f.array), where, "only a number can be x-optional")
    check(raw.get("x-create") in (None, "required", "never"), where, "x-create is required or never")
    check(not f.change_only or f.changeable, where, "could be sent neither at creation nor with a change")
    f.required = raw.get("x-create") == "required"
    return f


def read_schemas(documents):
    raws, enums, schemas = {}, {}, {}
    for agent, doc in documents:
        for name, raw in doc["components"]["schemas"].items():
            check(name not in raws, name, "is described twice")
            check(not set(raw) - SCHEMA_KEYS, name, f"unknown keys {sorted(set(raw) - SCHEMA_KEYS)}")
            raws[name] = (agent, raw)
            if "enum" in raw:
                enums[name] = Enum(name, raw["enum"], raw.get("description", ""))
    objects = {n for n in raws if n not in enums}
    for name in objects.intersection(raws):
        check(raws[name][1].get("type") == "object", name, "neither an enum nor an object")
    for name, (agent, raw) in raws.items():
        if name in enums:
            continue
        fields = [read_field(n, p, f"{name}.{n}", enums, objects) for n, p in raw.get("properties", {}).items()]
        for n in raw.get("required", []):
            f = next((f for f in fields if f.name == n), None)
            check(f is not None, name, f"requires {n}, which it does not have")
            f.required = True
        schemas[name] = Schema(name, fields, raw.get("description", ""), raw.get("x-kind", ""),
                               raw.get("x-columns", []), agent)
    return enums, schemas


def read_operations(doc, model):
    common = list(doc["components"]["parameters"].values())
    for path, methods in doc["paths"].items():
        for method, raw in methods.items():
            where = f"{method} {path}"
            check(method in METHODS, where, "unknown method")
            check(not set(raw) - OP_KEYS, where, f"unknown keys {sorted(set(raw) - OP_KEYS)}")
            for key in ("operationId", "tags", "summary", "x-permission"):
                check(raw.get(key), where, f"has no {key}")
            permission = raw["x-permission"]
            roles = [r for r, patterns in model.roles.items()
                     if permission in ("none", "self") or any(fnmatch.fnmatchcase(permission, p) for p in patterns)]
            check(roles, where, f"no role has the permission {permission}")
            op = Operation(raw["operationId"], method.upper(), path, raw, roles, list(raw.get("parameters", [])))
            if op.result and op.result[1]:
                op.parameters += common
            check(len(op.path_params) <= 2, where, "more than two path parameters")
            for p in op.path_params:
                check(model.kind(p), where, f"the parameter {p} is not a kind")
            check(not op.body or op.body[0] in model.schemas, where, f"no schema {op.body and op.body[0]}")
            check(not op.query or op.query in model.schemas, where, f"no schema {op.query}")
            for f in model.schemas[op.query].fields if op.query else []:
                plain = not f.array and f.kind in ("string", "integer", "boolean", "enum")
                check(plain and f.creatable, where, f"{f.name} cannot be a query parameter")
            described = not op.result or op.result[0] == "text" or op.result[0] in model.schemas
            check(described, where, "its result has no schema")
            check(not op.key("x-job") or op.result == ("Job", False), where, "a job's result is Job")
            check(all(o.name != op.name for o in model.operations), where, "its operationId is taken")
            model.operations.append(op)


def load(tarn_path, agent_path):
    documents = []
    for path in (tarn_path, agent_path):
        with open(path, encoding="utf-8") as f:
            documents.append(yaml.load(f, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    return build(*documents)


def build(doc, agent):
    enums, schemas = read_schemas([(False, doc), (True, agent)])
    model = Model(doc["info"]["title"], doc["info"]["version"], doc["servers"][0]["url"], doc["x-roles"], enums,
                  schemas, [], doc["components"]["parameters"], agent["x-protocol"], [], agent["x-events"])
    check(list(model.roles) == enums["Role"].values, "x-roles", "differs from the schema Role")
    read_operations(doc, model)
    for name, raw in agent["x-ops"].items():
        op = AgentOp(name, raw["args"], raw["result"], raw.get("x-once", True), raw.get("x-cancel", False))
        check(op.args in schemas and op.result in schemas, name, "args or result have no schema")
        model.agent_ops.append(op)
    for name, schema in model.agent_events.items():
        check(schema in schemas, name, f"no schema {schema}")
    for s in model.kinds:
        for column in s.columns:
            model.resolve(s, column)
        for f in s.fields:
            check(not f.key("x-ref") or model.kind(f.key("x-ref")), f"{s.name}.{f.name}", "x-ref names no kind")
    return model
