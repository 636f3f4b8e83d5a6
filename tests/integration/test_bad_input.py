# SPDX-License-Identifier: Apache-2.0
"""Bad input, each with a clear error and nothing left behind."""

import os
import socket
import ssl
import subprocess
import threading

import cluster
import rest


class BadInput(cluster.ClusterCase):
    def vm(self, **fields):
        return {"name": "bad", "template": "tiny", **fields}

    def test_unknown_fields(self):
        error = self.refused(400, "invalid", "POST", "/vms", self.vm(colour="red"))
        self.assertEqual(error["field"], "colour")
        error = self.refused(400, "invalid", "POST", "/vms", self.vm(disks=[{"size": 1 << 20}, {"sise": 1 << 20}]))
        self.assertEqual(error["field"], "disks[1].sise")
        error = self.refused(400, "invalid", "POST", "/vms", self.vm(id=cluster.os.urandom(4).hex()))
        self.assertEqual(error["field"], "id")
        error = self.refused(400, "invalid", "POST", "/vms", self.vm(state="running"))
        self.assertEqual(error["field"], "state")

    def test_wrong_types(self):
        for field, value in (("cpus", "two"), ("cpus", 1.5), ("cpus", None), ("memory", True), ("name", 7), ("tags", "a"),
                             ("tags", [1]), ("disks", {}), ("start", "yes"), ("machine", "pc"), ("machine", 1),
                             ("cloud_init", []), ("nics", [7]), ("template", 5)):
            with self.subTest(f"{field}={value!r}"):
                error = self.refused(400, "invalid", "POST", "/vms", self.vm(**{field: value}))
                self.assertTrue(error["field"].startswith(field), error)
        for body in ("[]", '"text"', "7", "null", "", "{", '{"name":"a","name":"b"}', "{} {}", '{"name": "\\ud800"}', "\xff\xfe"):
            with self.subTest(body):
                answer = self.api.raw("POST", "/vms", body.encode("latin-1"), {"Content-Type": "application/json"})
                self.assertEqual((answer.status, answer.json["code"]), (400, "invalid"), body)

    def test_numbers_out_of_range(self):
        wrong = {"cpus": (0, -1, 256, 1 << 40), "sockets": (0, 256),
                 "memory": (0, -1, 1 << 10, (16 << 20) + 1, 1 << 45, 1 << 62)}
        for field, values in wrong.items():
            for value in values:
                with self.subTest(f"{field}={value}"):
                    error = self.refused(400, "invalid", "POST", "/vms", self.vm(**{field: value}))
                    self.assertEqual(error["field"], field)
        answer = self.api.raw("POST", "/vms", b'{"name":"bad","cpus":99999999999999999999}', {"Content-Type": "application/json"})
        self.assertEqual(answer.status, 400)
        answer = self.api.raw("POST", "/vms", b'{"name":"bad","cpus":1e400}', {"Content-Type": "application/json"})
        self.assertEqual(answer.status, 400)

    def test_more_memory_than_the_server_has(self):
        with self.assertRaises((rest.ApiError, rest.JobFailed)) as failed:
            self.cluster.vm("giant", memory=1 << 43)
        self.assertEqual(failed.exception.code, "no-capacity")
        vms = [vm["name"] for vm in self.api.list("/vms")]
        if "giant" in vms:
            self.assertEqual(self.cluster.vm_state("giant"), "stopped")
            self.api.remove("/vms/giant")

    def test_names(self):
        bad = ["", "x" * 300, "名" * 100, "a/b", "..", ".", "a\nb", "a\0b", "\x1b[31m", "<b>bold</b>", "a b\t", " lead",
               "trail ", "a\u202eb", "00000000-0000-4000-8000-000000000000"]
        for name in bad:
            with self.subTest(repr(name)[:40]):
                error = self.refused(400, "invalid", "POST", "/vms", self.vm(name=name))
                self.assertTrue(error.get("field") == "name" or "\0" in name, error)
        # What people write in their own languages, spaces included, is a name; it works everywhere a name does.
        for name in ("北京的虚拟机", "with space", "Ünïcödé-1", "名" * 20):
            with self.subTest(name):
                answer = self.api.raw("POST", "/vms", self.vm(name=name))
                if answer.status == 400:
                    self.assertIn("name", answer.json["message"])
                    self.assertNotEqual(name, "北京的虚拟机", "names in Chinese are names")
                    continue
                self.assertEqual(self.api.wait_job(answer.json)["state"], "done")
                path = "/vms/" + rest.urllib.parse.quote(name)
                self.assertEqual(self.api.get(path)["name"], name)
                self.api.remove(path)

    def test_paths(self):
        for path in ("relative", "/a/../b", "", "/x" * 3000, "/nul\0", "/tmp/a\nb"):
            with self.subTest(path[:30]):
                error = self.refused(400, "invalid", "POST", "/repositories", {"name": "bad", "path": path})
                self.assertTrue(error.get("field") == "path" or "\0" in path, error)
        for path in ("/proc", "/", "/etc", "/etc/passwd", "/dev/null"):
            with self.subTest(path):
                with self.assertRaises((rest.JobFailed, rest.ApiError)) as failed:
                    self.api.do("/repositories", {"name": "bad", "server": self.cluster.agent.name, "path": path})
                self.assertTrue(failed.exception.message)
        for path in ("/vms/..%2f..%2fetc", "/vms/%00", "/vms/%ff%fe", "/vms/" + "x" * 3000, "/vms/%zz", "/nothing",
                     "/vms//start"):
            with self.subTest(path[:30]):
                answer = self.api.raw("GET", path)
                self.assertIn(answer.status, (400, 404, 414), path)
                self.assertTrue(answer.json["code"])

    def test_methods(self):
        answer = self.api.raw("PUT", "/vms")
        self.assertEqual((answer.status, answer.json["code"]), (405, "method-not-allowed"))
        self.assertIn("POST", answer.headers["allow"])

    def test_json_nested_10000_deep(self):
        body = b'{"name":"bad","tags":' + b"[" * 10000 + b"]" * 10000 + b"}"
        answer = self.api.raw("POST", "/vms", body, {"Content-Type": "application/json"})
        self.assertIn((answer.status, answer.json["code"]), ((400, "invalid"), (413, "too-large")))
        self.assertEqual(self.api.get("/about")["product"].lower(), "tarn")

    def test_a_body_that_is_too_large(self):
        body = b'{"description":"' + b"x" * (8 << 20) + b'"}'
        answer = self.api.raw("POST", "/vms", body, {"Content-Type": "application/json"})
        self.assertEqual((answer.status, answer.json["code"]), (413, "too-large"))

    def test_references_to_nothing(self):
        for field, value in (("template", "no-such"), ("server", "no-such"), ("repository", "no-such")):
            error = self.refused(404, "not-found", "POST", "/vms", self.vm(**{field: value}))
            self.assertIn("no-such", error["message"])
        error = self.refused(404, "not-found", "POST", "/vms", self.vm(disks=[{"disk": "no-such"}]))
        self.assertIn("no-such", error["message"])

    def test_two_requests_race_for_one_name(self):
        answers = []

        def create():
            client = self.api.copy()
            answers.append(client.raw("POST", "/vms", self.vm(name="raced")))
            client.close()
        threads = [threading.Thread(target=create) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(a.status for a in answers), [202] + [409] * 7)
        self.assertEqual({a.json["code"] for a in answers if a.status == 409}, {"exists"})
        won = next(a for a in answers if a.status == 202)
        self.assertEqual(self.api.wait_job(won.json)["state"], "done")
        self.assertEqual(len([vm for vm in self.api.list("/vms") if vm["name"] == "raced"]), 1)
        self.api.remove("/vms/raced")


class Wire(cluster.ClusterCase):
    """Below HTTP libraries: what they would not send."""

    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def send(self, data, more=b"", timeout=10):
        raw = socket.create_connection(("127.0.0.1", self.cluster.manager.port), timeout)
        with self.api.context.wrap_socket(raw, server_hostname="127.0.0.1") as s:
            got = b""
            try:
                s.sendall(data)
                if more:
                    s.sendall(more)
                while True:
                    piece = s.recv(65536)
                    if not piece:
                        break
                    got += piece
                    if b"\r\n\r\n" in got and got.split(b"\r\n\r\n", 1)[1].endswith((b"}", b"}\n")):
                        break
            except (TimeoutError, ssl.SSLError, ConnectionError):
                pass
            return got

    def head(self, method, path, *lines):
        all_lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.cluster.manager.port}",
                     f"Authorization: Bearer {self.api.token}", *lines]
        return ("\r\n".join(all_lines) + "\r\n\r\n").encode()

    def status(self, answer):
        return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/") else None

    def test_content_length_and_transfer_encoding(self):
        answer = self.send(self.head("POST", "/api/v1/users", "Content-Type: application/json", "Content-Length: 2",
                                     "Transfer-Encoding: chunked"), b"0\r\n\r\nGET /api/v1/about HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(self.status(answer), 400, answer)
        self.assertEqual(answer.count(b"HTTP/1.1"), 1, "a second request must not be smuggled in")

    def test_wrong_lengths(self):
        for line in ("Content-Length: -1", "Content-Length: abc", "Content-Length: 99999999999999999999"):
            with self.subTest(line):
                answer = self.send(self.head("POST", "/api/v1/users", "Content-Type: application/json", line), b"{}", 6)
                self.assertIn(self.status(answer), (400, 411, 413, None), answer)

    def test_junk(self):
        for data in (b"\0" * 100, b"GET\r\n\r\n", b"A" * 100000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
                     b"GET /" + b"a" * 60000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"):
            answer = self.send(data, timeout=6)
            self.assertIn((self.status(answer) or 400) // 100, (4, 5), answer[:200])
        self.assertEqual(self.api.get("/about")["product"].lower(), "tarn")

    def test_clear_text_on_the_tls_port(self):
        with socket.create_connection(("127.0.0.1", self.cluster.manager.port), 10) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            s.settimeout(6)
            try:
                self.assertFalse(s.recv(100).startswith(b"HTTP/1.1 200"))
            except OSError:
                pass
        self.assertEqual(self.api.get("/about")["product"].lower(), "tarn")

    def test_slow_clients_hold_nobody_up(self):
        slow = []
        for _ in range(50):
            raw = socket.create_connection(("127.0.0.1", self.cluster.manager.port), 10)
            s = self.api.context.wrap_socket(raw, server_hostname="127.0.0.1")
            s.sendall(b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Le")
            slow.append(s)
        began = cluster.time.monotonic()
        for _ in range(20):
            self.api.get("/about")
        self.assertLess(cluster.time.monotonic() - began, 5)
        for s in slow:
            s.close()

    def test_many_wrong_passwords_are_slowed_down(self):
        client = self.cluster.manager.client()
        statuses = [client.raw("POST", "/sessions", {"name": "admin", "password": f"wrong number {n}"}).status for n in range(40)]
        self.assertIn(429, statuses)
        self.assertEqual(set(statuses) - {401, 429}, set())
        answer = client.raw("POST", "/sessions", {"name": "admin", "password": "wrong"})
        if answer.status == 429:
            self.assertIn("retry-after", answer.headers)
        # Who is signed in already is not concerned.
        self.assertEqual(self.api.raw("GET", "/sessions/current").status, 200)


class Starting(cluster.unittest.TestCase):
    """Programs that cannot start say why in one line, and what to do."""

    def setUp(self):
        self.c = cluster.Cluster(0)
        self.addCleanup(self.c.close)

    def fails(self, args, env=None):
        done = subprocess.run(args, capture_output=True, text=True, timeout=30, cwd=self.c.dir,
                              env=dict(os.environ, **(env or {})))
        self.assertNotEqual(done.returncode, 0, done.stderr)
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        self.assertTrue(lines, "nothing was said")
        self.assertLessEqual(len([line for line in lines if " info " not in line]), 2, done.stderr)
        return "\n".join(lines)

    def test_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.c.manager.port = taken.getsockname()[1]
            line = self.fails(self.c.manager.arguments())
            self.assertIn(str(self.c.manager.port), line)
            self.assertIn("in use", line.lower())

    def test_a_second_manager_on_the_same_state(self):
        self.c.start()
        line = self.fails([cluster.MANAGER, "--state-dir", self.c.manager.state, "--listen", f"127.0.0.1:{cluster.free_port()}"])
        self.assertIn(self.c.manager.state, line)

    def store(self):
        self.c.start()
        self.c.api.post("/users", {"name": "kept", "password": "longenough"})
        self.c.api.close()
        self.c.manager.stop()
        names = [name for name in os.listdir(self.c.manager.state) if name.endswith((".db", ".sqlite"))]
        self.assertEqual(len(names), 1, os.listdir(self.c.manager.state))
        return os.path.join(self.c.manager.state, names[0])

    def test_corrupt_store(self):
        path = self.store()
        with open(path, "r+b") as f:
            size = os.path.getsize(path)
            for at in range(4096, size, 4096):
                f.seek(at)
                f.write(os.urandom(1024))
        line = self.fails(self.c.manager.arguments())
        self.assertIn(path, line)
        with open(path, "wb") as f:
            f.write(b"not a database at all\n" * 1000)
        self.assertIn(path, self.fails(self.c.manager.arguments()))

    def test_store_of_a_newer_version(self):
        path = self.store()
        import sqlite3
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 9999")
        db.close()
        line = self.fails(self.c.manager.arguments())
        self.assertIn("newer", line.lower())

    def test_read_only_store(self):
        path = self.store()
        os.chmod(path, 0o400)
        os.chmod(self.c.manager.state, 0o500)
        try:
            args = self.c.manager.arguments()
            if os.geteuid() == 0:  # root writes where it wants; nobody does not
                for folder, _, names in os.walk(self.c.dir):
                    for name in names + [""]:
                        os.chown(os.path.join(folder, name), 65534, 65534)
                args = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *args]
            line = self.fails(args)
            self.assertIn(path, line)
        finally:
            os.chmod(self.c.manager.state, 0o700)

    def test_wrong_arguments(self):
        for program in (cluster.MANAGER, cluster.AGENT):
            self.assertIn("--nonsense", self.fails([program, "--nonsense"]))
        self.fails([cluster.MANAGER, "--state-dir", self.c.manager.state, "--listen", "127.0.0.1:99999"])
        self.fails([cluster.AGENT, "--state-dir", self.c.dir + "/never-joined"])
        for program in (cluster.MANAGER, cluster.AGENT, cluster.CLI):
            for option in ("--version", "--help"):
                done = subprocess.run([program, option], capture_output=True, text=True, timeout=20)
                self.assertEqual(done.returncode, 0)
                self.assertTrue(done.stdout)

    def test_no_qemu_installed(self):
        self.c.start()
        empty = os.path.join(self.c.dir, "empty")
        os.mkdir(empty)
        agent = self.c.add_agent("bare", start=False)
        spaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
        agent.spawn(["unshare", *spaces, "--propagation=private", "--", "sh", "-c", 'mount --bind "$0" /usr/bin && exec "$@"',
                     empty, cluster.AGENT, "--state-dir", agent.state])
        self.c.wait_online("bare")
        server = self.c.api.get("/servers/bare")
        drivers = {h["driver"]: h for h in server["hypervisors"]}
        self.assertFalse(drivers.get("qemu", {}).get("usable", False))
        if "qemu" in drivers:
            self.assertIn("qemu", drivers["qemu"]["reason"].lower())
        self.c.repository(agent=agent)
        with self.assertRaises((rest.ApiError, rest.JobFailed)) as failed:
            self.c.api.do("/vms", {"name": "no", "start": True, "memory": 64 << 20})
        self.assertIn("qemu", failed.exception.message.lower())
