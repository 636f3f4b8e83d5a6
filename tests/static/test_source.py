# SPDX-License-Identifier: Apache-2.0
"""Rules that hold for every source file: licence line, sizes, layers, generated files, scripts, links in the documents."""

import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# What each layer may include from src/: itself and what stands here.
LAYERS = {
    "base": [],
    "api": ["base"],
    "os": ["base"],
    "store": ["base", "os"],
    "core": ["base", "api"],
    "guest": ["base", "api"],
    "manager": ["base", "api", "os", "store", "core"],
    "agent": ["base", "api", "os", "store", "guest"],
    "cli": ["base", "api", "os"],
    "tools": ["base", "os"],
    "sim": ["base", "api", "core", "guest"],
}


def files(*suffixes):
    out = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                         capture_output=True, text=True).stdout
    return [name for name in out.split("\0") if name.endswith(suffixes) and os.path.exists(os.path.join(ROOT, name))]


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def first_lines(name, count=3):
    with open(os.path.join(ROOT, name), encoding="utf-8", errors="replace") as f:
        return "".join(f.readline() for _ in range(count))


class Source(unittest.TestCase):
    def test_licence_line(self):
        bad = [name for name in files(".c", ".h", ".py", ".sh", "meson.build", "Makefile", ".service")
               if "SPDX-License-Identifier: Apache-2.0" not in first_lines(name) and "/corpus/" not in name]
        self.assertEqual([name for name in bad if not name.startswith(("src/", "fuzz/", "tests/unit")) or
                          name.endswith((".c", ".h"))], [])

    def test_sizes(self):
        for name in files(".c", ".h", ".py"):
            lines = read(name).splitlines()
            self.assertLess(len(lines), 800, name)
            most = 160 if name.endswith(".py") else 120
            long = [f"{name}:{number}" for number, line in enumerate(lines, 1) if len(line) > most]
            self.assertEqual(long, [], f"lines of more than {most} columns")

    def test_layers_point_down(self):
        bad = []
        for name in files(".c", ".h"):
            parts = name.split("/")
            if parts[0] != "src" or parts[1] not in LAYERS or name.endswith("_test.c"):
                continue
            for include in re.findall(r'^#include "([^"]+)"', read(name), re.M):
                layer = include.split("/")[0]
                if "/" in include and layer in LAYERS and layer != parts[1] and layer not in LAYERS[parts[1]]:
                    bad.append(f"{name} includes {include}")
        self.assertEqual(bad, [])

    def test_nothing_left_behind(self):
        words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
        bad = [f"{name}:{number}" for name in files(".c", ".h", ".py", ".yaml", "meson.build", ".md")
               if name != "tests/static/test_source.py"
               for number, line in enumerate(read(name).splitlines(), 1) if words.search(line)]
        self.assertEqual(bad, [])

    def test_generated_files_are_made_from_the_description(self):
        """What apigen writes twice is the same, and nothing that it writes is kept in the repository."""
        made = set(re.findall(r"'([\w.]+)'", re.search(r"output: \[([^]]+)\]", read("src/api/meson.build")).group(1)))
        made = {name for name in made if not os.path.exists(os.path.join(ROOT, "src/api", name))}  # written by hand
        self.assertTrue(made)
        kept = [name for name in files(*made) if os.path.basename(name) in made]
        texts = {}
        for name in sorted(made):
            out = [subprocess.run([sys.executable, "tools/apigen/apigen", "api/tarn.yaml", "api/agent.yaml", "-", name],
                                  cwd=ROOT, check=True, capture_output=True).stdout for _ in range(2)]
            self.assertEqual(out[0], out[1], f"{name}: apigen is not deterministic")
            texts[name] = out[0]
        for name in kept:
            self.assertEqual(read(name).encode(), texts[os.path.basename(name)], f"{name} is stale: run tools/apigen/apigen")

    def test_generator_size(self):
        total = sum(len(read(name).splitlines()) for name in files(".py", "apigen") if name.startswith("tools/apigen/")
                    and not os.path.basename(name).startswith("test"))
        self.assertLess(total, 1750)


class Scripts(unittest.TestCase):
    def test_shell(self):
        scripts = [name for name in files("") if re.match(rb"#!/bin/(ba)?sh\b", self.head(name))]
        self.assertTrue(scripts)
        done = subprocess.run(["shellcheck", "-S", "warning", *scripts], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_python(self):
        scripts = [name for name in files("") if name.endswith(".py") or b"python3" in self.head(name)]
        done = subprocess.run(["pyflakes3", *scripts], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    @staticmethod
    def head(name):
        path = os.path.join(ROOT, name)
        if os.path.islink(path) or not os.path.isfile(path):
            return b""
        with open(path, "rb") as f:
            return f.readline(80)


class Documents(unittest.TestCase):
    def test_links(self):
        bad = []
        for name in files(".md"):
            for target in re.findall(r"\]\(([^)#\s]+)", read(name)):
                if "://" not in target and not os.path.exists(os.path.join(ROOT, os.path.dirname(name), target)):
                    bad.append(f"{name}: {target}")
        self.assertEqual(bad, [])

    def test_man_pages(self):
        pages = [name for name in files(".1", ".5", ".7", ".8") if name.startswith("docs/man/")]
        self.assertTrue(pages)
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_every_dependency_has_its_reason(self):
        packages = set()
        for line in re.findall(r'^(?:build|guests|tests|bench|peers)="([^"]+)"', read("setup"), re.M):
            packages |= set(line.split())
        text = read("docs/dependencies.md")
        self.assertEqual([name for name in sorted(packages) if f"`{name}`" not in text], [])
