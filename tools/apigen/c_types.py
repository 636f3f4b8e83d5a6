# SPDX-License-Identifier: Apache-2.0
"""api.h's types and functions, and api_schemas.c: the rows that src/api/runtime.c walks."""

import json

from model import upper
from text import c_comment, c_flags, c_head, c_row, c_string

SCALARS = {"string": "char *", "integer": "int64_t ", "number": "double ", "boolean": "bool ", "json": "json_t *"}
FORMATS = {None: "TEXT", "uuid": "UUID", "name": "NAME", "path": "PATH", "mac": "MAC", "date-time": "TIME", "label": "LABEL"}

FUNCTIONS = """\
void api_{n}_init(struct api_{n} *ret);
void api_{n}_done(struct api_{n} *object);
void api_{n}_copy(struct api_{n} *to, const struct api_{n} *from);
int api_{n}_parse(const json_t *j, enum api_use use, struct api_{n} *ret, struct error *e);
json_t *api_{n}_print(const struct api_{n} *object, enum api_view view);
void api_{n}_write(const struct api_{n} *object, enum api_view view, struct buf *out);
int api_{n}_each_ref(struct api_{n} *object, api_ref_visitor *visit, void *ctx);"""

BODIES = """\
void api_{n}_init(struct api_{n} *ret) {{ api_object_init(&api_{n}_schema, ret); }}
void api_{n}_done(struct api_{n} *object) {{ api_object_done(&api_{n}_schema, object); }}
void api_{n}_copy(struct api_{n} *to, const struct api_{n} *from) {{ api_object_copy(&api_{n}_schema, to, from); }}
int api_{n}_parse(const json_t *j, enum api_use use, struct api_{n} *ret, struct error *e) {{
    return api_object_parse(&api_{n}_schema, j, use, ret, e);
}}
json_t *api_{n}_print(const struct api_{n} *object, enum api_view view) {{
    return api_object_print(&api_{n}_schema, object, view);
}}
void api_{n}_write(const struct api_{n} *object, enum api_view view, struct buf *out) {{
    api_object_write(&api_{n}_schema, object, view, out);
}}
int api_{n}_each_ref(struct api_{n} *object, api_ref_visitor *visit, void *ctx) {{
    return api_object_each_ref(&api_{n}_schema, object, visit, ctx);
}}"""

MERGE = "int api_{n}_merge(const struct api_{n} *old, const json_t *patch, struct api_{n} *ret, struct error *e)"


def member_type(model, f):
    if f.kind == "enum":
        return f"enum api_{model.enums[f.type_name].snake} "
    if f.kind == "object":
        return f"struct api_{model.schemas[f.type_name].snake} "
    return SCALARS[f.kind]


def given(f):
    return f"given_{f.name}" if f.key("x-from-template") else ""


def count(f):
    return f"n_{f.name}" if f.array else f"has_{f.name}" if f.kind == "object" else ""


def struct_lines(model, s):
    lines = [c_comment(s.description)] if s.description else []
    lines.append(f"struct api_{s.snake} {{")
    for f in s.fields:
        t = member_type(model, f)
        notes = [f.description] if f.description else []
        if f.array:
            t = t + "*" if t.endswith("*") else t + "*"
        line = f"    {t}{f.name};"
        if f.array:
            line += f"\n    size_t n_{f.name};"
        elif f.kind == "object":
            line = f"    bool has_{f.name};\n{line}"
        if given(f):
            line += f"\n    bool {given(f)}; /* the client sent it (API_CREATE) */"
        if notes:
            lines.append(f"    {c_comment(notes[0])}")
        lines.append(line)
    if not s.fields:
        lines.append("    char nothing; /* C has no empty structs */")
    return lines + ["};"]


def enum_lines(e):
    lines = [c_comment(e.description)] if e.description else []
    lines.append(f"enum api_{e.snake} {{")
    lines += [f"    {e.const(v)}," for v in e.values]
    return lines + ["};", f"#define API_{upper(e.snake)}_COUNT {len(e.values)}",
                    f"const char *api_{e.snake}_text(enum api_{e.snake} value);",
                    "/* 0, or -EINVAL with ret untouched. */",
                    f"int api_{e.snake}_from_text(const char *text, enum api_{e.snake} *ret);", ""]


def header(model):
    lines = ["/* ---- enumerations ---- */", ""]
    for e in model.enums.values():
        lines += enum_lines(e)
    lines += ["/* ---- objects ---- */", ""]
    for s in model.ordered():
        lines += struct_lines(model, s)
        lines += FUNCTIONS.format(n=s.snake).split("\n")
        if s.kind:
            lines.append(MERGE.format(n=s.snake) + ";")
        lines += [f"extern const struct api_schema api_{s.snake}_schema;", ""]
    return lines + ["/* Every one of them, for tests and fuzzing. */", f"#define API_SCHEMA_COUNT {len(model.schemas)}",
                    "extern const struct api_schema *const api_schemas[API_SCHEMA_COUNT];", ""]


def limits(f):
    if f.kind == "string":
        low, high = f.constraint("minLength", 0), f.constraint("maxLength")
    else:
        low, high = f.constraint("minimum"), f.constraint("maximum")
    return ("INT64_MIN" if low is None else f"INT64_C({low})", "INT64_MAX" if high is None else f"INT64_C({high})")


def defaults(model, f):
    """(text, integer) as struct api_field has them."""
    value = f.key("default")
    if value is None:
        return None, 0
    if f.array or f.kind == "json":
        return json.dumps(value, separators=(",", ":")), 0
    if f.kind == "string":
        return value, 0
    if f.kind == "enum":
        return None, model.enums[f.type_name].values.index(value)
    return None, int(value)


def field_row(model, s, f):
    struct = f"struct api_{s.snake}"
    flags = [name for name, on in [
        ("API_F_ARRAY", f.array), ("API_F_REQUIRED", f.required), ("API_F_READ_ONLY", f.read_only),
        ("API_F_WRITE_ONLY", f.write_only), ("API_F_INPUT", f.input), ("API_F_IMMUTABLE", f.key("x-immutable")),
        ("API_F_INTERNAL", f.internal), ("API_F_CHANGEABLE", f.key("x-changeable")),
        ("API_F_CHANGE_ONLY", f.change_only), ("API_F_GIVEN", given(f)),
        ("API_F_OPTIONAL", f.optional), ("API_F_BYTES", f.key("x-unit") == "bytes"),
        ("API_F_SECONDS", f.key("x-unit") == "seconds")] if on]
    fmt = "REF" if f.ref else FORMATS[f.constraint("format")]
    text, number = defaults(model, f)
    low, high = limits(f)
    choices = None
    if f.kind == "enum":
        choices = f"{model.enums[f.type_name].snake}_choices"
    elif f.choices:
        choices = f"{s.snake}_{f.name}_choices"
    row = [f'.name = "{f.name}"', f".type = API_TYPE_{f.kind.upper()}", f".offset = offsetof({struct}, {f.name})"]
    if f.kind == "string" and fmt != "TEXT":
        row.append(f".format = API_FORMAT_{fmt}")
    if flags:
        row.append(f".flags = {c_flags(flags)}")
    if count(f):
        row.append(f".count_offset = offsetof({struct}, {count(f)})")
    if given(f):
        row.append(f".given_offset = offsetof({struct}, {given(f)})")
    if f.key("maxItems"):
        row.append(f".max_items = {f.key('maxItems')}")
    if f.kind in ("string", "integer", "number"):
        row += [f".min = {low}", f".max = {high}"]
    if choices:
        row.append(f".choices = &{choices}")
    if f.kind == "object":
        row.append(f".schema = &api_{model.schemas[f.type_name].snake}_schema")
    if f.ref:
        row.append(f".ref = {c_string(f.ref)}")
    if text is not None:
        row.append(f".text_default = {c_string(text)}")
    if number:
        row.append(f".int_default = INT64_C({number})")
    return c_row(row)


def choices_lines(name, values):
    texts = ", ".join(c_string(v) for v in values)
    return [f"static const char *const {name}_texts[] = {{{texts}}};",
            f"static const struct api_choices {name}_choices = {{{len(values)}, {name}_texts}};"]


def schema_lines(model, s):
    lines = []
    for f in s.fields:
        if f.choices:
            lines += choices_lines(f"{s.snake}_{f.name}", f.choices)
    if s.fields:
        lines.append(f"static const struct api_field {s.snake}_fields[] = {{")
        for f in s.fields:
            lines += field_row(model, s, f)
        lines.append("};")
    fields = f"{len(s.fields)}, {s.snake}_fields" if s.fields else "0, NULL"
    lines.append(f"const struct api_schema api_{s.snake}_schema =")
    lines.append(f'    {{"{s.name}", sizeof(struct api_{s.snake}), {fields}}};')
    lines += BODIES.format(n=s.snake).split("\n")
    if s.kind:
        lines += [MERGE.format(n=s.snake) + " {",
                  f"    return api_object_merge(&api_{s.snake}_schema, old, patch, ret, e);", "}"]
    return lines + [""]


def enum_source(e):
    n = e.snake
    return choices_lines(n, e.values) + [
        f"const char *api_{n}_text(enum api_{n} value) {{",
        f"    return {n}_texts[(size_t)value < {n}_choices.n ? (size_t)value : 0];", "}",
        f"int api_{n}_from_text(const char *text, enum api_{n} *ret) {{",
        f"    int value = text ? api_choice(&{n}_choices, text) : -1;",
        "    if (value < 0)", "        return -EINVAL;", f"    *ret = (enum api_{n})value;", "    return 0;", "}", ""]


def source(model):
    lines = c_head("Every object's fields, and its functions.", "api/api.h") + ["#include <errno.h>", ""]
    for e in model.enums.values():
        lines += enum_source(e)
    for s in model.ordered():
        lines += schema_lines(model, s)
    lines.append("const struct api_schema *const api_schemas[API_SCHEMA_COUNT] = {")
    return lines + [f"    &api_{s.snake}_schema," for s in model.ordered()] + ["};"]
