# SPDX-License-Identifier: Apache-2.0
"""The commands in README.md, README.zh-CN.md and docs/ are such as the command line takes: each is parsed, and none is sent."""

import glob
import os
import re
import shlex
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLI = os.path.join(os.environ.get("TARN_BUILD", os.path.join(ROOT, "build")), "src/cli/tarn")
DOCUMENTS = ["README.md", "README.zh-CN.md", *sorted(glob.glob("docs/*.md", root_dir=ROOT))]
# These have code of their own that reads files or asks the manager first: their options are looked at, no more.
LOCAL = ("login", "logout", "console", "vnc", "watch", "import")
# After these a file is read.
FILES = ("--cloud-init-user-data", "--cloud-init-meta-data", "--cloud-init-network-config", "--fence-password-file")


def commands(path):
    """(line, words) for each tarn command in the indented blocks of a document."""
    with open(os.path.join(ROOT, path)) as f:
        text = f.read()
    for line in re.sub(r"\\\n +", "", text).splitlines():
        if not re.match(r"    (\$ )?(tarn|\$T) ", line):
            continue
        text = re.sub(r"^    (\$ )?(tarn|\$T) ", "", line)
        for part in re.split(r"&& (?:tarn|\$T) |; (?:tarn|\$T) ", text):
            # What follows two blanks explains it, and what is in brackets may be left out.
            yield line.strip(), shlex.split(re.split(r"\s{2,}(?![-\s])|&&|;| \[", part, maxsplit=1)[0], comments=True)


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory(prefix="tarn-d-")
        with open(cls.dir.name + "/file", "w") as f:
            f.write("text\n")

    @classmethod
    def tearDownClass(cls):
        cls.dir.cleanup()

    def run_tarn(self, *words):
        env = dict({k: v for k, v in os.environ.items() if not k.startswith("TARN_")}, TARN_URL="https://127.0.0.1:1",
                   TARN_TOKEN="t", TARN_CA=self.dir.name + "/file", XDG_CONFIG_HOME=self.dir.name, LC_ALL="C.UTF-8")
        return subprocess.run([CLI, *words], env=env, cwd=self.dir.name, capture_output=True, text=True, timeout=30,
                              stdin=subprocess.DEVNULL)

    def check(self, line, words):
        words = ["file" if i and words[i - 1] in FILES else w for i, w in enumerate(words)]
        if any(w in LOCAL for w in words[:2]):
            known = self.run_tarn(*words[:1 if words[0] in LOCAL else 2], "--help").stdout
            self.assertTrue(known, line)
            for w in words:
                self.assertTrue(not w.startswith("--") or re.search(re.escape(w.split("=")[0]) + r"\b", known.replace("--[no-]", "--")),
                                f"{w}: {line}")
            return
        done = self.run_tarn(*words, "--dry-run")
        self.assertEqual(done.returncode, 0, f"{line}\n{done.stderr}")

    def test_every_command_is_one(self):
        n = 0
        for path in DOCUMENTS:
            for line, words in commands(path):
                with self.subTest(document=path, line=line):
                    self.check(line, words)
                    n += 1
        self.assertGreater(n, 60)

    def test_both_readmes_have_the_same_commands(self):
        self.assertEqual([words for _, words in commands("README.md")], [words for _, words in commands("README.zh-CN.md")])
