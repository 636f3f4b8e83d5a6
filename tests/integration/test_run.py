# SPDX-License-Identifier: Apache-2.0
"""`make run` and ./setup, as a newcomer meets them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import cluster

RUN, SETUP = os.path.join(cluster.ROOT, "tools/run"), os.path.join(cluster.ROOT, "setup")
PROMPT = "root@hello:(~|/root)# "  # as busybox in Debian 13 and 12 has it


class Run(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="tarn-r-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.addCleanup(self.end_guests)
        self.env = dict(os.environ, TARN_HOME=self.home, TARN_PORT=str(cluster.free_port()), TARN_BUILD=cluster.BUILD)

    def end_guests(self):
        for pid in cluster.processes(self.home):
            cluster.kill_pid(pid)

    def run_once(self, **more):
        return subprocess.run([RUN], env=dict(self.env, TARN_ONCE="1", **more), capture_output=True, text=True, timeout=240)

    def test_first_and_second_time(self):
        process = subprocess.Popen([RUN], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        out = ""
        for line in process.stdout:
            out += line
            if "Ctrl-C ends it" in line:
                break
        self.assertRegex(out, PROMPT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        rest_of_it = process.stdout.read()
        out += rest_of_it
        self.assertEqual(process.wait(30), 0, out)
        self.assertIn(f"https://127.0.0.1:{self.env['TARN_PORT']}", rest_of_it)
        self.assertRegex(rest_of_it, r"user +admin")
        self.assertRegex(rest_of_it, r"password +\S+")
        self.assertIn("Still running: 1 virtual machine", rest_of_it)
        self.assertNotIn("Traceback", out)
        pid = int(re.search(r"policy says: kill (\d+)", rest_of_it).group(1))
        self.assertFalse(cluster.gone(pid))
        again = self.run_once()
        self.assertEqual(again.returncode, 0, again.stdout + again.stderr)
        self.assertIn("hello is running, as it was left", again.stdout)
        self.assertFalse(cluster.gone(pid), "the guest was taken up, not started anew")
        # The third time it has been ended in between: its restart policy, or the script, has started it again.
        cluster.kill_pid(pid)
        third = self.run_once()
        self.assertEqual(third.returncode, 0, third.stdout + third.stderr)
        self.assertRegex(third.stdout, PROMPT + "|hello is running")
        self.assertNotIn(f"kill {pid}\n", third.stdout)

    def start(self, env):
        """make run in a process group of its own, until it stays."""
        process = subprocess.Popen([RUN], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   start_new_session=True)
        self.addCleanup(process.stdout.close)
        out = ""
        for line in process.stdout:
            out += line
            if "Ctrl-C ends it" in line:
                return process
        self.fail(out)

    def daemons(self):
        found = []
        for pid in cluster.processes(self.home):
            try:
                if os.path.basename(os.readlink(f"/proc/{pid}/exe")) in ("tarn-manager", "tarn-agent"):
                    found.append(int(pid))
            except OSError:
                continue
        return found

    def test_signals_and_another_port(self):
        process = self.start(self.env)
        self.assertEqual(len(self.daemons()), 2)
        for _ in range(3):
            os.killpg(process.pid, signal.SIGTERM)
        self.assertIn("Manager and agent have ended", process.stdout.read())
        self.assertEqual(process.wait(30), 143)
        self.assertEqual(self.daemons(), [])
        process = self.start(dict(self.env, TARN_PORT=str(cluster.free_port())))
        manager = next(pid for pid in self.daemons() if os.readlink(f"/proc/{pid}/exe").endswith("tarn-manager"))
        os.kill(manager, signal.SIGKILL)
        self.assertIn("tarn-manager killed by signal 9", process.stdout.read())
        self.assertEqual(process.wait(30), 1)
        self.assertEqual(self.daemons(), [])

    def one_line(self, text, **env):
        done = self.run_once(**env)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertIn(text, done.stderr)

    def test_port_taken(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.one_line("TARN_PORT", TARN_PORT=str(taken.getsockname()[1]))

    def test_bad_settings(self):
        self.one_line("not a port", TARN_PORT="http")
        self.one_line("too long", TARN_HOME="/tmp/" + "x" * 100)
        self.one_line("TARN_HOME", TARN_HOME="/proc/tarn")
        self.one_line("missing", TARN_BUILD="/nowhere")


class Setup(unittest.TestCase):
    def setUp(self):
        self.bin = tempfile.mkdtemp(prefix="tarn-s-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.bin, ignore_errors=True)

    def fake(self, name, body):
        path = os.path.join(self.bin, name)
        with open(path, "w") as f:
            f.write("#!/bin/bash\n" + body + "\n")
        os.chmod(path, 0o755)

    def setup_with(self, *args, only=False):
        if only:  # the tools that setup needs, and no others
            for name in ("bash", "awk", "sort", "comm", "tr", "mktemp", "rm", "uname", "grep", "tail", "env", "cat"):
                if not os.path.exists(os.path.join(self.bin, name)):
                    os.symlink(shutil.which(name), os.path.join(self.bin, name))
        env = {"PATH": self.bin if only else self.bin + ":" + os.environ["PATH"], "HOME": self.bin}
        return subprocess.run(["/bin/bash", SETUP, *args], env=env, capture_output=True, text=True, timeout=60)

    def test_nothing_missing(self):
        self.fake("apt-get", "echo apt-get was called >&2; exit 1")
        began = time.monotonic()
        done = self.setup_with("test")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertLess(time.monotonic() - began, 2)

    def test_missing_without_sudo(self):
        self.fake("id", "echo 1000")
        self.fake("dpkg-query", "exit 1")
        done = self.setup_with("run", only=True)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertIn("no sudo", done.stderr)
        self.assertIn("libuv1-dev", done.stderr)

    def test_missing_with_sudo(self):
        self.fake("id", "echo 1000")
        self.fake("sudo", 'echo "$@" >>"$HOME/calls"; exec "$@"')
        self.fake("dpkg-query", '[ -e "$HOME/done" ] || exit 1; shift 2; for p; do echo "installed $p"; done')
        self.fake("apt-get", '[ -e "$HOME/updated" ] && touch "$HOME/done" && exit 0; [ "$2" = update ] && touch "$HOME/updated" '
                  '&& exit 0; echo "E: Unable to locate package" >&2; exit 100')
        done = self.setup_with("run")
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(self.bin, "calls")) as f:
            calls = f.read()
        self.assertIn("apt-get -q update", calls)
        self.assertIn("install -qy --no-install-recommends", calls)

    def test_installation_fails(self):
        self.fake("dpkg-query", "exit 1")
        self.fake("id", "echo 0")
        self.fake("apt-get", 'echo "E: Could not resolve" >&2; exit 100')
        done = self.setup_with("run")
        self.assertEqual(done.returncode, 1)
        self.assertIn("Could not resolve", done.stderr.splitlines()[-1])

    def test_wrong_word(self):
        self.assertIn("usage", self.setup_with("nonsense").stderr)
