# SPDX-License-Identifier: Apache-2.0
"""The command line end to end: what section by section a person types, with exit codes and outputs."""

import json
import os
import pty
import re
import select
import time

import cluster


class CommandLine(cluster.ClusterCase):
    TEMPLATE = False

    def tarn(self, *args, status=0, **more):
        done = self.cluster.cli(*args, **more)
        self.assertEqual(done.returncode, status, f"tarn {' '.join(args)}: {done.stdout}{done.stderr}")
        return done.stdout if status == 0 else done.stderr

    def test_1_import_create_watch_delete(self):
        folder = cluster.images()
        out = self.tarn("template", "import", "tiny", "--kernel", folder + "/vmlinuz", "--initrd", folder + "/initrd.img",
                        "--cmdline", "console=ttyS0 quiet", "--memory", "96MiB", "--machine", "microvm", timeout=180)
        self.assertNotIn("\x1b[", out, "no colours or bars where the output is no terminal")
        self.assertIn("tiny", self.tarn("template", "list"))
        self.tarn("vm", "create", "hello", "--template", "tiny", "--cpus", "1", "--memory", "96MiB", "--display", "none",
                  "--start")
        table = self.tarn("vm", "list")
        self.assertRegex(table, r"hello\s+running\s+1\s+96 ?MiB")
        shown = json.loads(self.tarn("vm", "show", "hello", "-o", "json"))
        self.assertEqual((shown["name"], shown["state"], shown["memory"]), ("hello", "running", 96 << 20))
        self.assertIn("state: running", self.tarn("vm", "show", "hello", "-o", "yaml"))
        self.tarn("vm", "suspend", "hello")
        self.tarn("vm", "resume", "hello")
        self.console("hello")
        self.tarn("vm", "stop", "hello", "--timeout", "30")
        self.tarn("vm", "set", "hello", "--memory", "128MiB", "--tag", "web")
        self.assertEqual(json.loads(self.tarn("vm", "show", "hello", "-o", "json"))["memory"], 128 << 20)
        self.tarn("vm", "start", "hello")
        self.tarn("vm", "kill", "hello")
        jobs = json.loads(self.tarn("job", "list", "-o", "json"))
        jobs = jobs["items"] if isinstance(jobs, dict) else jobs
        self.assertIn("vm.create", {job["kind"] for job in jobs})
        self.assertIn(jobs[0]["kind"], self.tarn("job", "show", jobs[0]["id"]))
        self.assertIn("hello", self.tarn("event", "list"))
        self.tarn("vm", "delete", "hello")
        self.assertNotIn("hello", self.tarn("vm", "list"))

    def console(self, vm):
        """On a pseudo-terminal: type, see, leave with Ctrl-]."""
        pid, master = pty.fork()
        if pid == 0:
            c = self.cluster
            os.environ.update(TARN_URL=c.manager.url, TARN_CA=c.manager.ca, TARN_TOKEN=c.api.token, TERM="xterm")
            os.execv(cluster.CLI, [cluster.CLI, "vm", "console", vm])
        seen = b""

        def expect(pattern, timeout=40):
            nonlocal seen
            deadline = time.monotonic() + timeout
            while not re.search(pattern, seen):
                ready = select.select([master], [], [], max(0, deadline - time.monotonic()))[0]
                self.assertTrue(ready, f"{pattern} did not come: {seen[-400:]}")
                try:
                    seen += os.read(master, 4096)
                except OSError:
                    self.fail(f"the console ended: {seen[-400:]}")
        try:
            expect(rb"# ")
            seen = b""
            os.write(master, b"echo AN''SWER\r")
            expect(rb"ANSWER\r")
            os.write(master, b"\x1d")
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                done, how = os.waitpid(pid, os.WNOHANG)
                if done:
                    self.assertEqual(os.waitstatus_to_exitcode(how), 0)
                    pid = None
                    break
                if select.select([master], [], [], 0.1)[0]:
                    try:
                        os.read(master, 4096)
                    except OSError:
                        time.sleep(0.05)
            self.assertIsNone(pid, "Ctrl-] did not end the console")
        finally:
            if pid:
                cluster.kill_pid(pid)
                os.waitpid(pid, 0)
            os.close(master)

    def test_2_exit_codes(self):
        self.assertIn("no-such", self.tarn("vm", "show", "no-such", status=3))
        self.tarn("vm", "create", status=2)
        self.assertIn("--colour", self.tarn("vm", "create", "x", "--colour", "red", status=2))
        self.tarn("vm", "create", "x", "--cpus", "many", status=2)
        self.tarn("nonsense", status=2)
        self.tarn("vm", "list", status=4, token="wrong")
        self.tarn("vm", "list", status=6, env={"TARN_URL": f"https://127.0.0.1:{cluster.free_port()}"})
        self.tarn("user", "delete", "admin", status=5)

    def test_3_login(self):
        c = self.cluster
        password = os.path.join(c.dir, "password")
        with open(password, "w") as f:
            f.write(c.manager.password())
        config = {"XDG_CONFIG_HOME": c.dir + "/login", "TARN_URL": "", "TARN_CA": "", "TARN_TOKEN": ""}
        os.makedirs(config["XDG_CONFIG_HOME"], exist_ok=True)
        for name in ("TARN_URL", "TARN_CA", "TARN_TOKEN"):
            os.environ.pop(name, None)
        done = c.cli("login", c.manager.url, "--ca", c.manager.ca, "--user", "admin", "--password-file", password, env=config)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = c.cli("session", "show", env=config)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("admin", done.stdout)
        for folder, _, names in os.walk(config["XDG_CONFIG_HOME"]):
            for name in names:
                if name.endswith(".json"):
                    self.assertEqual(os.stat(os.path.join(folder, name)).st_mode & 0o077, 0)
        done = c.cli("logout", env=config)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(c.cli("session", "show", env=config).returncode, 4)

    def test_4_no_wait_watch_abort(self):
        out = self.tarn("disk", "create", "later", "--size", "64MiB", "--no-wait", "-o", "json")
        job = json.loads(out)
        self.assertEqual(job["kind"], "disk.create")
        self.tarn("job", "watch", job["id"])
        self.tarn("job", "abort", job["id"], status=5)
        self.tarn("disk", "delete", "later")

    def test_5_help(self):
        for args in ((), ("vm",), ("vm", "create"), ("template", "import")):
            text = self.tarn(*args, "--help")
            self.assertTrue(text)
        self.assertIn("--memory", self.tarn("vm", "create", "--help"))

    def test_6_what_is_wrong_is_named_as_it_was_typed(self):
        server = json.loads(self.tarn("server", "list", "-o", "json"))
        server = (server["items"] if isinstance(server, dict) else server)[0]["name"]
        self.assertIn("vm create: --ha-after: there is no virtual machine", self.tarn("vm", "create", "late", "--ha-after", "nix", status=3))
        self.assertIn("server set: --address address: ", self.tarn("server", "set", server, "--address",
                                                                  "address=192.0.2.77,roles=vm", status=2))
        self.tarn("pool", "create", "few")
        self.assertIn('pool add: SERVER: there is no server "nix"', self.tarn("pool", "add", "few", "nix", status=3))
        self.tarn("pool", "delete", "few")
        self.assertIn("--action CHOICE is missing: one of status, off,", self.tarn("server", "fence", server, status=2))
        # An unset shell variable is no wish for a server of Tarn's choice.
        self.assertIn("--to is empty", self.tarn("vm", "migrate", "whatever", "--to", "", status=2))
        self.assertIn("--profile is empty", self.tarn("vm", "list", "--profile=", status=2))
