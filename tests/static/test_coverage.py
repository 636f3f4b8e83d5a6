# SPDX-License-Identifier: Apache-2.0
"""Every operation of the description has a permission that a role grants, and a test that names it."""

import glob
import os
import re
import unittest

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def description():
    with open(os.path.join(ROOT, "api/tarn.yaml"), encoding="utf-8") as f:
        return yaml.safe_load(f)


def operations():
    return {op["operationId"]: op for path in description()["paths"].values() for op in path.values()}


class Coverage(unittest.TestCase):
    def test_every_operation_has_a_test_that_names_it(self):
        text = ""
        for path in glob.glob(os.path.join(ROOT, "tests/integration/test_*.py")):
            with open(path, encoding="utf-8") as f:
                text += f.read()
        self.assertEqual([name for name in operations() if not re.search(rf"\b{name}\b", text)], [])

    def test_every_operation_has_a_permission(self):
        for name, op in operations().items():
            self.assertRegex(op.get("x-permission", ""), r"^(none|self|[a-z]+\.[a-z]+)$", name)

    def test_every_job_kind_has_a_crash_scenario(self):
        text = ""
        for path in glob.glob(os.path.join(ROOT, "tests/crash/*.py")):
            with open(path, encoding="utf-8") as f:
                text += f.read()
        kinds = sorted({op["x-job"] for op in operations().values() if "x-job" in op})
        self.assertEqual([kind for kind in kinds if f'"{kind}"' not in text], [])
