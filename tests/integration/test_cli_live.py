# SPDX-License-Identifier: Apache-2.0
"""The command line's long conversations with a real manager and guest: consoles, displays, streams, interrupted uploads."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import time

import cluster


class Conversations(cluster.ClusterCase):
    def setUp(self):
        self.started = []

    def tearDown(self):
        for child in self.started:
            if child.poll() is None:
                child.kill()
            child.communicate()

    def env(self):
        c = self.cluster
        return dict(os.environ, TARN_URL=c.manager.url, TARN_CA=c.manager.ca, TARN_TOKEN=c.api.token, LC_ALL="C.UTF-8",
                    XDG_CONFIG_HOME=c.dir + "/config")

    def begin(self, *args, **more):
        child = subprocess.Popen([cluster.CLI, *args], env=self.env(), stdin=more.pop("stdin", subprocess.PIPE),
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, **more)
        self.started.append(child)
        return child

    def expect(self, stream, pattern, timeout=40):
        seen, deadline = b"", time.monotonic() + timeout
        while not re.search(pattern, seen):
            ready = select.select([stream], [], [], max(0, deadline - time.monotonic()))[0]
            self.assertTrue(ready, f"{pattern} did not come: {seen[-600:]}")
            data = os.read(stream.fileno(), 4096)
            self.assertTrue(data, f"it ended before {pattern}: {seen[-600:]}")
            seen += data
        return seen

    def tarn(self, *args, status=0, **more):
        done = self.cluster.cli(*args, **more)
        self.assertEqual(done.returncode, status, f"tarn {' '.join(args)}: {done.stdout}{done.stderr}")
        return done

    def test_1_console_as_a_pipe(self):
        self.cluster.vm("talker")
        self.tarn("vm", "console", "talker", "--until", "# ", "--timeout", "60", stdin="")
        done = self.tarn("vm", "console", "talker", "--until", "42 is it", "--timeout", "30", stdin="echo $((6*7)) is it\n\n")
        self.assertIn("42 is it", done.stdout)
        self.tarn("vm", "console", "talker", "--send", "echo $((7*7)) too", "--until", "49 too", "--timeout", "30",
                  stdin="")
        done = self.tarn("vm", "console", "talker", "--until", "never said", "--timeout", "1", stdin="", status=6)
        self.assertIn("never said", done.stderr)
        self.tarn("vm", "console", "talker", "--timeout", "1", stdin="")
        script = os.path.join(self.cluster.dir, "script")
        with open(script, "w") as f:
            f.write("echo a$((1+1))b\n" * 20)
        with open(script) as f:
            child = self.begin("vm", "console", "talker", "--until", "a2b", "--timeout", "20", stdin=f)
            self.assertEqual(child.wait(30), 0)

    def test_2_console_outlives_the_connection(self):
        self.cluster.vm("lasting")
        child = self.begin("vm", "console", "lasting")
        self.expect(child.stdout, rb"# ")
        self.cluster.agent.kill()
        self.expect(child.stderr, rb"connecting again")
        self.cluster.agent.start()
        self.expect(child.stderr, rb"connected again")
        child.stdin.write(b"echo st$((1+1))ll here\n")
        self.expect(child.stdout, rb"st2ll here")
        self.cluster.restart_manager(kill=True)
        self.expect(child.stderr, rb"connected again")
        child.stdin.write(b"echo st$((2+1))ll here\n")
        self.expect(child.stdout, rb"st3ll here")
        self.cluster.api.do("/vms/lasting/kill", {})
        self.assertIn(b"lasting is stopped", self.expect(child.stderr, rb"is stopped"))
        self.assertEqual(child.wait(20), 0)
        done = self.tarn("vm", "console", "lasting", stdin="", status=5)
        self.assertIn("tarn vm start lasting", done.stderr)

    def test_3_display(self):
        self.cluster.vm("blind", start=False)
        self.tarn("vm", "vnc", "blind", status=5)
        # Whatever its setting says.
        self.cluster.vm("small", display="vnc")
        self.assertIn("a microvm has no display", self.tarn("vm", "vnc", "small", status=5).stderr)
        self.cluster.vm("seen", display="vnc", machine="q35")
        child = self.begin("vm", "vnc", "seen", "--once")
        host, _, port = child.stdout.readline().decode().strip().rpartition(":")
        self.assertEqual(host, "127.0.0.1")
        with socket.create_connection((host, int(port)), 20) as s:
            s.settimeout(20)
            self.assertEqual(s.recv(12), b"RFB 003.008\n", child.stderr.read(2000) if child.poll() is not None else "")
            s.sendall(b"RFB 003.008\n")
            self.assertGreaterEqual(len(s.recv(2)), 1)
        self.assertEqual(child.wait(20), 0)
        done = self.tarn("vm", "vnc", "seen", "--listen", "0.0.0.0:0", status=2)
        self.assertIn("loopback", done.stderr)
        self.cluster.api.do("/vms/seen/kill", {})

    def test_4_events_and_stream(self):
        events = self.begin("event", "list", "--follow")
        stream = self.begin("stream", "--kinds", "disk")
        time.sleep(1)
        self.tarn("disk", "create", "followed", "--size", "1MiB")
        self.expect(events.stdout, rb"followed")
        lines = self.expect(stream.stdout, rb'"type":"put".*\n').split(b"\n")
        self.assertEqual(json.loads(next(line for line in lines if b'"put"' in line))["object"]["name"], "followed")
        self.cluster.restart_manager()
        self.expect(events.stderr, rb"connected again")
        self.tarn("disk", "delete", "followed")
        self.expect(events.stdout, rb"[Dd]elete.*followed")
        for child in (events, stream):
            child.send_signal(signal.SIGINT)
            self.assertEqual(child.wait(20), 0)

    def test_5_job_is_followed_through_a_restart(self):
        self.cluster.vm("slow", start=True)
        # A guest that ignores the request to shut down keeps the job waiting.
        child = self.begin("vm", "stop", "slow", "--timeout", "6", "--force")
        self.expect(child.stderr, rb"vm.stop")
        self.cluster.restart_manager(kill=True)
        self.assertEqual(child.wait(90), 0, child.stderr)
        self.cluster.wait_vm("slow", "stopped")

    def test_6_interrupted_upload(self):
        image = os.path.join(self.cluster.dir, "big.raw")
        with open(image, "wb") as f:
            f.write(os.urandom(1 << 20) * 300)
        command = ("template", "import", "big", "--disk", image, "--format", "raw")
        child = self.begin(*command)
        self.expect(child.stderr, rb"upload big.raw: \d+%")
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=30)
        self.assertEqual(child.returncode, 130, error)
        upload = re.search(rb"--resume (\S+)", error).group(1).decode()
        self.assertIn(f"tarn upload delete {upload}".encode(), error)
        self.assertIn("big.raw", self.tarn("upload", "list").stdout)
        self.tarn(*command, "--resume", upload, timeout=120)
        self.assertIn("300 MiB", self.tarn("template", "list").stdout)
        self.tarn("template", "delete", "big")
