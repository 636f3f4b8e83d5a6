# SPDX-License-Identifier: Apache-2.0
"""tools/apigen: what it refuses, and that what it writes for others has the form that they expect."""

import copy
import json
import os
import re
import subprocess
import sys
import unittest

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARN, AGENT = os.path.join(ROOT, "api/tarn.yaml"), os.path.join(ROOT, "api/agent.yaml")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tools/apigen"))

import cli  # noqa: E402
import docs  # noqa: E402
import model as api_model  # noqa: E402
import openapi  # noqa: E402

with open(TARN, encoding="utf-8") as tarn, open(AGENT, encoding="utf-8") as agent:
    DOCUMENT, AGENT_DOCUMENT = yaml.safe_load(tarn), yaml.safe_load(agent)


def load_changed(change):
    doc = copy.deepcopy(DOCUMENT)
    change(doc)
    loaded = api_model.build(doc, AGENT_DOCUMENT)
    cli.commands(loaded)
    return loaded


def vm_field(doc, **keys):
    doc["components"]["schemas"]["Vm"]["properties"]["cpus"].update(keys)


class Description(unittest.TestCase):
    def refused(self, text, change):
        with self.assertRaisesRegex(api_model.Problem, text):
            load_changed(change)

    def test_every_operation_has_what_it_needs(self):
        for path, methods in DOCUMENT["paths"].items():
            for method in methods:
                for key in ("operationId", "summary", "tags", "x-permission"):
                    self.refused(f"{method} {re.escape(path)}: has no {key}",
                                 lambda d: d["paths"][path][method].pop(key))

    def test_permissions_are_held(self):
        self.refused("no role has", lambda d: d.update({"x-roles": {r: [] for r in d["x-roles"]}}))
        self.refused("differs from", lambda d: d["x-roles"].update(guest=["*"]))

    def test_mistakes(self):
        vm = "/vms/{vm}"
        self.refused("Vm.cpus: unknown keys", lambda d: vm_field(d, minimun=1))
        self.refused("Vm.cpus: unknown format", lambda d: vm_field(d, format="int7"))
        self.refused("Vm.cpus: unknown type", lambda d: vm_field(d, type="int"))
        self.refused("x-ref names no kind", lambda d: vm_field(d, **{"x-ref": "cpu"}))
        self.refused("no schema Nothing", lambda d: vm_field(d, **{"$ref": "#/components/schemas/Nothing"}))
        self.refused("not usable as a member", lambda d: d["components"]["schemas"]["Vm"]["properties"].update(
            {"default": {"type": "string"}}))
        self.refused("no field colour", lambda d: d["components"]["schemas"]["Vm"]["x-columns"].append("colour"))
        self.refused("unknown keys", lambda d: d["paths"][vm]["get"].update({"x-wher": "core"}))
        self.refused("no schema Car", lambda d: d["paths"][vm]["patch"].update({"x-body": "Car.change"}))
        self.refused("operationId is taken", lambda d: d["paths"][vm]["get"].update(operationId="vm_list"))
        self.refused("a job's result is Job", lambda d: d["paths"][vm]["get"].update({"x-job": "vm.show"}))
        self.refused("have this command", lambda d: d["paths"][vm]["get"]["x-cli"].update(verb="delete"))
        self.refused("leaves out a path parameter", lambda d: d["paths"][vm]["get"]["x-cli"].update(args=[]))
        self.refused("two flags are called", lambda d: vm_field(d, **{"x-cli": "memory"}))
        self.refused("default is not one of",
                     lambda d: d["components"]["schemas"]["Vm"]["properties"]["machine"].update(default="pc"))

    def test_every_default_is_allowed(self):
        """A default that a client may not send would make an object that cannot be created twice."""
        for s in api_model.load(TARN, AGENT).schemas.values():
            for f in s.fields:
                value = f.key("default")
                if f.kind == "integer" and value is not None:
                    self.assertGreaterEqual(value, f.constraint("minimum", value), f"{s.name}.{f.name}")
                    self.assertLessEqual(value, f.constraint("maximum", value), f"{s.name}.{f.name}")

    def test_clients_texts_are_bounded(self):
        """Whatever a client may send has a greatest length: its own, or its format's."""
        for s in api_model.load(TARN, AGENT).schemas.values():
            for f in s.fields:
                if f.kind == "string" and f.creatable and not s.agent and (s.kind or any(g.required for g in s.fields)):
                    bounded = f.constraint("maxLength") or f.choices or f.ref or \
                        f.constraint("format") in ("name", "uuid", "mac", "date-time")
                    self.assertTrue(bounded, f"{s.name}.{f.name} has no maxLength")
                if f.array and f.creatable and s.kind:
                    self.assertTrue(f.key("maxItems"), f"{s.name}.{f.name} has no maxItems")


class OpenApi(unittest.TestCase):
    doc = openapi.document(api_model.load(TARN, AGENT))

    def walk(self, value, where="#"):
        yield where, value
        if isinstance(value, dict):
            for k, v in value.items():
                yield from self.walk(v, f"{where}/{k}")
        elif isinstance(value, list):
            for i, v in enumerate(value):
                yield from self.walk(v, f"{where}/{i}")

    def resolve(self, ref):
        self.assertTrue(ref.startswith("#/"), ref)
        at = self.doc
        for part in ref[2:].split("/"):
            at = at[part]
        return at

    def test_no_private_keys_and_no_dangling_references(self):
        for where, value in self.walk(self.doc):
            if isinstance(value, dict):
                self.assertFalse([k for k in value if k.startswith("x-")], where)
                if "$ref" in value:
                    self.assertIsInstance(self.resolve(value["$ref"]), dict)

    def test_root(self):
        self.assertEqual(self.doc["openapi"], "3.1.0")
        self.assertLessEqual(set(self.doc), {"openapi", "info", "servers", "security", "tags", "paths", "components"})
        self.assertLessEqual({"title", "version"}, set(self.doc["info"]))
        self.assertLessEqual(set(self.doc["components"]), {"schemas", "responses", "parameters", "securitySchemes"})

    def test_operations(self):
        seen = set()
        for path, methods in self.doc["paths"].items():
            self.assertTrue(path.startswith("/"))
            for method, op in methods.items():
                self.assertIn(method, ("get", "post", "put", "patch", "delete"))
                self.assertNotIn(op["operationId"], seen)
                seen.add(op["operationId"])
                in_path = [p["name"] for p in op.get("parameters", []) if p.get("in") == "path"]
                self.assertEqual(in_path, re.findall(r"{(\w+)}", path))
                for p in op.get("parameters", []):
                    p = self.resolve(p["$ref"]) if "$ref" in p else p
                    self.assertLessEqual({"name", "in", "schema"}, set(p))
                    self.assertTrue(p["in"] != "path" or p["required"])
                self.assertIn("default", op["responses"])
                for code, answer in op["responses"].items():
                    self.assertRegex(code, r"^([1-5]\d\d|default)$")
                    self.assertTrue("$ref" in answer or answer["description"])
                self.assertTrue(method in ("post", "put", "patch") or "requestBody" not in op)

    def check_schema(self, where, s):
        if "$ref" in s:
            return
        types = s.get("type", [])
        for t in types if isinstance(types, list) else [types]:
            self.assertIn(t, ("string", "integer", "number", "boolean", "object", "array", "null"), where)
        self.assertLessEqual(set(s.get("required", [])), set(s.get("properties", {})), where)
        self.assertEqual("array" in types, "items" in s, where)
        for k, v in s.get("properties", {}).items():
            self.check_schema(f"{where}.{k}", v)
        for v in s.get("anyOf", []) + ([s["items"]] if "items" in s else []):
            self.check_schema(where, v)

    def test_schemas(self):
        schemas = self.doc["components"]["schemas"]
        for name, s in schemas.items():
            self.check_schema(name, s)
        self.assertIn("password", schemas["UserCreate"]["required"])
        self.assertIn("password", schemas["UserChange"]["properties"])
        self.assertNotIn("required", schemas["UserChange"])
        self.assertNotIn("name", schemas["UserChange"]["properties"])
        for field in ("password", "password_hash"):
            self.assertNotIn(field, schemas["User"]["properties"])
        self.assertIn("size", schemas["VmDiskCreate"]["properties"])
        self.assertNotIn("size", schemas["VmDisk"]["properties"])
        self.assertNotIn("cloud_init", schemas["Vm"]["properties"])
        self.assertIn("cloud_init", schemas["VmCreate"]["properties"])
        self.assertEqual(schemas["VmCreate"]["required"], ["name"])
        self.assertNotIn("template", schemas["VmChange"]["properties"])

    def test_the_reference_has_the_commands_with_code_of_their_own(self):
        text = "\n".join(docs.source(api_model.build(DOCUMENT, AGENT_DOCUMENT)))
        for words in ("**`tarn server token create [NAME]`**: Create a token", "**`tarn job watch JOB`**: Follow a job",
                      "**`tarn iso import FILE [NAME]`**: Import"):
            self.assertIn(words, text)
        self.assertNotIn("__manual", text)

    def test_the_program_writes_it(self):
        command = [sys.executable, os.path.join(ROOT, "tools/apigen/apigen"), TARN, AGENT, "-", "openapi.json"]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        self.assertEqual(json.loads(out), self.doc)


if __name__ == "__main__":
    unittest.main()
