# SPDX-License-Identifier: Apache-2.0
"""The command line against a manager that misbehaves: a small HTTPS server that answers wrongly, slowly or not at all.

What the command line does with a real manager is in test_cli.py.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLI = os.path.join(os.environ.get("TARN_BUILD", os.path.join(ROOT, "build")), "src/cli/tarn")


def certificates(folder):
    """A CA and a server certificate for 127.0.0.1; the chain that is presented holds both, as the manager's does."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    for name in ("ca", "other"):
        openssl("req", "-x509", *key, "-keyout", name + ".key", "-out", name + ".pem", "-subj", "/CN=Test " + name,
                "-addext", "basicConstraints=critical,CA:TRUE")
    openssl("req", "-new", *key[:-2], "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=manager")
    with open(os.path.join(folder, "names"), "w") as f:
        f.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "server.pem")
    with open(os.path.join(folder, "chain.pem"), "w") as out:
        for name in ("server.pem", "ca.pem"):
            with open(os.path.join(folder, name)) as f:
                out.write(f.read())


class Fake:
    """Answers each request with what handler(method, path, headers, body) returns: bytes as they are, or (status, object)."""

    def __init__(self, folder):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(os.path.join(folder, "chain.pem"), os.path.join(folder, "server.key"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests = []
        self.handler = None
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def serve(self, plain):
        plain.settimeout(30)
        with contextlib.suppress(OSError, ValueError), self.context.wrap_socket(plain, server_side=True) as s:
            f = s.makefile("rb")
            while True:
                method, path, _ = f.readline().decode().split(" ", 2)
                headers = {}
                while (line := f.readline().strip()):
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = f.read(int(headers.get("content-length", 0)))
                self.requests.append((method, path, headers, body))
                answer = self.handler(method, path, headers, body)
                if answer is None:
                    return
                if not isinstance(answer, bytes):
                    if answer[0] >= 400:
                        answer = (answer[0], {"error": answer[1]})
                    text = json.dumps(answer[1]).encode()
                    head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    answer = head % (answer[0], len(text)) + text
                s.sendall(answer)
                if b"Connection: close" in answer:
                    return

    def close(self):
        self.listener.close()


def page(*items, following=None):
    return (200, dict({"items": list(items)}, **({"next": following} if following else {})))


class Offline(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="tarn-cli-")
        certificates(cls.dir)
        cls.fake = Fake(cls.dir)

    @classmethod
    def tearDownClass(cls):
        cls.fake.close()
        shutil.rmtree(cls.dir)

    def setUp(self):
        self.fake.requests.clear()
        self.config = tempfile.mkdtemp(dir=self.dir)

    def tarn(self, *args, env=None, stdin=None, timeout=60, status=None, signed_in=True):
        full = {k: v for k, v in os.environ.items() if not k.startswith("TARN_") or k == "TARN_BUILD"}
        full.update(XDG_CONFIG_HOME=self.config, LC_ALL="C.UTF-8")
        if signed_in:
            full.update(TARN_URL=f"https://127.0.0.1:{self.fake.port}", TARN_CA=self.dir + "/ca.pem", TARN_TOKEN="secret-token")
        full.update(env or {})
        done = subprocess.run([CLI, *args], env=full, input=stdin, capture_output=True, text=True, timeout=timeout,
                              start_new_session=True)
        self.assertNotIn("Sanitizer", done.stderr)
        if status is not None:
            self.assertEqual(done.returncode, status, f"tarn {' '.join(args)}: {done.stdout}{done.stderr}")
        return done

    def answer(self, value):
        self.fake.handler = lambda *_: value

    def test_every_command_is_in_the_reference(self):
        manual = self.tarn("__manual", stdin='.\\" COMMANDS\n', status=0, signed_in=False).stdout
        commands = re.findall(r"^\.Ss (tarn .*)$", manual, re.M)
        self.assertGreater(len(commands), 80)
        with open(os.path.join(ROOT, "docs/reference.md"), encoding="utf-8") as f:
            headings = re.findall(r"^\*\*`(tarn [^`]*)`\*\*", f.read(), re.M)
        for command in commands:
            self.assertTrue([h for h in headings if h == command or h.startswith(command + " ")], command)

    # ---- answers that are wrong ----

    def test_not_json(self):
        self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"items\":")
        self.assertIn("damaged", self.tarn("vm", "list", status=1).stderr)
        self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[12]")
        self.assertIn("not an object", self.tarn("vm", "list", status=1).stderr)
        self.answer((200, {"things": []}))
        self.assertIn("no list", self.tarn("vm", "list", status=1).stderr)

    def test_server_errors(self):
        self.answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 14\r\n\r\n<html>oh\x1b[2J..")
        done = self.tarn("vm", "list", status=1)
        self.assertIn("500", done.stderr)
        self.assertNotIn("\x1b", done.stderr)
        self.answer(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        self.assertIn("502", self.tarn("vm", "list", status=1).stderr)
        self.answer(b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        self.assertIn("302", self.tarn("vm", "list", status=1).stderr)

    def test_truncated_and_closed(self):
        self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{\"items\":[")
        self.assertIn("broke", self.tarn("vm", "list", status=6).stderr)
        self.answer(None)
        self.assertIn("broke", self.tarn("vm", "list", status=6).stderr)
        self.answer(b"SSH-2.0-nonsense\r\n\r\n")
        self.tarn("vm", "list", status=6)

    def test_slow(self):
        def slow(*_):
            time.sleep(1.5)
            return page()
        self.fake.handler = slow
        self.assertIn("NAME", self.tarn("vm", "list", status=0).stdout)

    def test_endless_list(self):
        self.answer(page({"id": "1", "name": "a"}, following="a"))
        self.assertIn("does not move on", self.tarn("vm", "list", status=1).stderr)

    def test_nested_deep(self):
        text = b'{"items":' + b"[" * 10000 + b"]" * 10000 + b"}"
        self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
        self.assertIn("nested", self.tarn("vm", "list", status=1).stderr)

    # ---- errors in Tarn's words ----

    def test_error_objects(self):
        self.answer((400, {"code": "invalid", "message": "must be at least 16 MiB", "field": "memory"}))
        done = self.tarn("vm", "create", "x", "--memory", "1MiB", status=2)
        self.assertEqual(done.stderr, "tarn: vm create: --memory: must be at least 16 MiB\n")
        done = self.tarn("vm", "create", "x", "-o", "json", status=2)
        self.assertEqual(json.loads(done.stderr), {"code": "invalid", "message": "must be at least 16 MiB", "field": "memory",
                                                   "command": "vm create", "exit_code": 2})
        for status, code, exit_code in ((404, "not-found", 3), (401, "unauthenticated", 4), (409, "in-use", 5),
                                        (503, "read-only", 6), (507, "no-space", 6), (409, "cancelled", 7),
                                        (418, "unheard-of", 1)):
            self.answer((status, {"code": code, "message": "because"}))
            self.assertIn("because", self.tarn("vm", "show", "x", status=exit_code).stderr)
        self.answer((401, {"code": "unauthenticated", "message": "the token has expired"}))
        self.assertIn("tarn login", self.tarn("vm", "show", "x").stderr)

    def test_errors_name_the_option(self):
        for words, field, message, said in (
                (("vm", "create", "x"), "disks.0.size", "is too small", "--disk size: is too small"),
                (("vm", "migrate", "x", "--to", "s"), "to", "there is no server \"s\"", "--to: there is no server \"s\""),
                (("pool", "set", "p", "--no-clustered"), "force", "force must be true", "--force must be true"),
                (("pool", "set", "p", "--no-clustered"), "force", "g would be lost; with force it is", "g would be lost; with force it is (--force)"),
                (("pool", "set", "p", "--force"), "force", "is of no use", "--force: is of no use"),
                (("vm", "set", "x", "--ha-after", "y"), "ha.after[0]", "there is no y", "--ha-after: there is no y"),
                (("pool", "add", "p", "s"), "server", "there is no server \"s\"", "SERVER: there is no server \"s\""),
                (("vm", "list"), "filter", "state is one of running", "--filter: state is one of running"),
                (("vm", "migrate", "x", "--to", "s"), "to", "too many of them", "--to: too many of them"),
                (("vm", "show", "x"), "what", "is no option", "what: is no option")):
            self.answer((400, {"code": "invalid", "message": message, "field": field}))
            self.assertIn(f": {said}\n", self.tarn(*words, status=2).stderr)

    def test_fields_that_are_not_there(self):
        for field, said in (("server.name", "server is a value"), ("stat", "did you mean state?"), ("ha.zzzzzz", "ha has enabled, "),
                            ("zzzzzz", "it has id, ")):
            self.assertIn(said, self.tarn("vm", "list", "--fields", field, status=2).stderr)
        self.assertEqual(self.fake.requests, [])

    def test_who_is_guarded(self):
        self.answer(page({"id": "1", "name": "a", "ha": {"enabled": True}, "guarded": False}))
        rows = [line.split() for line in self.tarn("vm", "list", status=0).stdout.splitlines()]
        self.assertEqual(rows[0][-2:], ["HA", "GUARDED"])
        self.assertEqual(rows[1][-2:], ["yes", "no"])
        # While its server is told there is nothing to warn of; when it does not answer there is.
        soon = "its server does not watch it yet"
        for answers, warned in (([soon, soon, ""], None), ([soon] * 99, soon), ([soon, "else"], "else"), (["else"], "else")):
            reasons = iter(answers)
            self.fake.handler = lambda *_: (200, {"id": "1", "name": "a", "guarded_reason": next(reasons)})
            self.fake.requests.clear()
            done = self.tarn("vm", "set", "a", "--ha", status=0)
            if warned:
                self.assertIn(warned, done.stderr)
            else:
                self.assertEqual(done.stderr, "")
            self.assertEqual(len(self.fake.requests), min(len(answers), 31))

    def test_server_that_is_gone(self):
        vm = {"kind": "vm", "id": "1", "name": "guest"}
        warning = "2 highly available virtual machines are not restarted"
        self.answer((200, {"lost": [], "crashed": [vm], "warnings": [warning]}))
        said = self.tarn("server", "delete", "s3", "--force", status=0).stdout
        for part in ("server s3: deleted\n", "guest", warning):
            self.assertIn(part, said)
        self.answer((200, {"lost": [], "crashed": [], "warnings": []}))
        self.assertEqual(self.tarn("server", "delete", "s3", status=0).stdout, "server s3: deleted\n")

    def test_server_that_is_away(self):
        cluster = {"pool": "p", "armed": True, "quorate": True, "members": ["s1"], "reason": "", "gone": True}
        for state, shown in (("online", True), ("offline", False)):
            self.answer((200, {"id": "1", "name": "s", "state": state, "cluster": cluster}))
            out = self.tarn("server", "show", "s", status=0).stdout
            self.assertEqual("quorate" in out and "members" in out, shown)
            self.assertEqual("what it sees now is not known" in out, not shown)
            self.assertTrue(json.loads(self.tarn("server", "show", "s", "-o", "json", status=0).stdout)["cluster"]["quorate"])

    def test_long_reasons_are_last(self):
        self.answer((200, {"id": "1", "name": "s", "state": "online", "hypervisors": [
            {"driver": "qemu", "version": "7", "accelerator": "tcg", "reason": "long " * 30, "usable": True, "capabilities": []}]}))
        out = self.tarn("server", "show", "s", status=0).stdout
        self.assertTrue(re.search(r"^ *DRIVER .*REASON$", out, re.M), out)

    def test_rate_limit_is_not_retried(self):
        text = b'{"error":{"code":"rate-limited","message":"slow down"}}'
        self.answer(b"HTTP/1.1 429 X\r\nRetry-After: 7\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
        self.assertIn("7 s", self.tarn("vm", "list", status=6).stderr)
        self.assertEqual(len(self.fake.requests), 1)

    def test_escape_sequences(self):
        nasty = "a\x1b[31m\x9bb\u202ec"
        self.answer(page({"id": "1", "name": nasty, "state": nasty}))
        for form in ("table", "json", "yaml", "name"):
            out = self.tarn("vm", "list", "-o", form, status=0).stdout
            for bad in ("\x1b", "\x9b", "\u202e"):
                self.assertNotIn(bad, out)
        self.assertEqual(json.loads(self.tarn("vm", "list", "-o", "json").stdout)[0]["name"], nasty)
        self.answer((409, {"code": "conflict", "message": nasty}))
        self.assertNotIn("\x1b", self.tarn("vm", "show", "x", status=5).stderr)

    # ---- requests ----

    def test_request(self):
        self.answer(page())
        self.tarn("vm", "list", "--filter", "name~a b&c", "--sort", "-memory", "--limit", "5", status=0)
        method, path, headers, _ = self.fake.requests[0]
        self.assertEqual((method, headers["authorization"]), ("GET", "Bearer secret-token"))
        self.assertIn("filter=name~a%20b%26c", path)
        self.assertIn("limit=5", path)
        self.fake.requests.clear()
        self.answer((200, {"id": "1", "name": "x", "revision": 8}))
        self.assertEqual(self.tarn("vm", "set", "a/b", "--memory", "1GiB", "--if-match", "7", status=0).stdout, "vm x: changed\n")
        method, path, headers, body = self.fake.requests[0]
        self.assertEqual((method, path, headers["if-match"]), ("PATCH", "/api/v1/vms/a%2Fb", '"7"'))
        self.assertEqual(json.loads(body), {"memory": 1 << 30})

    def test_times_and_secrets(self):
        """Times have units; of a file with a password the first line counts, as echo and editors end it."""
        secret = os.path.join(self.config, "secret")
        with open(secret, "w") as f:
            f.write("geheim 北京\n")
        self.answer((200, {"id": "1", "name": "x", "revision": 8}))
        for args, want in ((("server", "set", "x", "--fence-password-file", secret), {"fence": {"password": "geheim 北京"}}),
                           (("token", "create", "x", "--lifetime", "2h"), {"name": "x", "lifetime": 7200}),
                           (("vm", "set", "x", "--ha-delay", "90"), {"ha": {"delay": 90}}),
                           (("server", "maintenance", "on", "x", "--timeout", "10m"), {"on": True, "timeout": 600}),
                           (("server", "maintenance", "x", "on"), {"on": True})):
            self.fake.requests.clear()
            self.tarn(*args, "--no-wait" if "maintenance" in args else "--quiet")
            posts = [json.loads(body) for method, _, _, body in self.fake.requests if method in ("POST", "PATCH")]
            self.assertEqual(posts, [want], args)
        self.assertIn("a time such as 90 (seconds), 10m", self.tarn("token", "create", "x", "--lifetime", "soon", status=2).stderr)
        self.assertIn("tarn server maintenance on x", self.tarn("server", "maintenance", "x", status=2).stderr)

    def test_a_list_of_tokens_is_no_token(self):
        self.answer((200, {"id": "1", "name": "x"}))
        for word in ("list", "ls", "delete", "show"):
            self.assertIn("tarn token list", self.tarn("server", "token", word, status=2).stderr)
        self.assertEqual(self.fake.requests, [])

    def test_what_was_done_is_said(self):
        self.answer((200, {"lost": []}))
        self.assertEqual(self.tarn("server", "delete", "north", "--force", status=0).stdout, "server north: deleted\n")
        self.answer((200, {"lost": [{"kind": "vm", "id": "1", "name": "web"}]}))
        out = self.tarn("server", "delete", "north", "--force", status=0).stdout
        self.assertRegex(out, r"^server north: deleted\nlost")
        self.assertIn("web", out)
        self.answer((200, {"id": "j1", "state": "running", "abort_requested": True}))
        self.assertEqual(self.tarn("job", "abort", "j1", status=0).stdout, "job j1: is being aborted\n")
        self.answer((200, {"id": "a1", "code": "x", "active": True}))
        self.assertEqual(self.tarn("alarm", "ack", "a1", status=0).stdout, "alarm a1: acknowledged\n")
        self.assertEqual(self.tarn("version", status=0, signed_in=False).stdout,
                         self.tarn("--version", status=0, signed_in=False).stdout)

    def test_a_pool_is_shown_with_its_servers(self):
        def answers(method, path, headers, body):
            if path.startswith("/api/v1/servers?"):
                return page({"id": "s1", "name": "north", "state": "online"}) if "pool%3Dp1" in path else page()
            return (200, {"id": "p1", "name": "east", "placement": "pack"})
        self.fake.handler = answers
        self.assertRegex(self.tarn("pool", "show", "east", status=0).stdout, r"placement +pack\n\nNAME.*\nnorth +online")
        self.assertEqual(json.loads(self.tarn("pool", "show", "east", "-o", "json", status=0).stdout)["id"], "p1")

    def test_pools_are_listed_with_what_is_in_them(self):
        def answers(method, path, headers, body):
            if path.startswith("/api/v1/summary?"):
                self.assertIn("pool=p1", path)
                return (200, {"servers": [{"state": "online", "count": 2}, {"state": "offline", "count": 1}],
                              "vms": [{"state": "running", "count": 4}, {"state": "stopped", "count": 3}],
                              "capacity": {"cpus": 16, "cpus_used": 1.5, "memory": 32 << 30, "memory_allocated": 4 << 30,
                                           "storage": 10 << 40, "storage_free": 9 << 40}})
            return page({"id": "p1", "name": "east", "placement": "pack", "clustered": True, "cpu_model": "Haswell"})
        self.fake.handler = answers
        head, row = self.tarn("pool", "list", status=0).stdout.splitlines()
        self.assertEqual(" ".join(head.split()), "NAME SERVERS VMS CPUS USED MEMORY GIVEN STORAGE USED CLUSTERED PLACEMENT CPU MODEL")
        self.assertEqual(" ".join(row.split()), "east 3, 1 offline 7 1.50 of 16 4 GiB of 32 GiB 1 TiB of 10 TiB yes pack Haswell")
        self.assertEqual(self.tarn("pool", "list", "--fields", "name", status=0).stdout, "NAME\neast\n")
        self.assertNotIn("vms", json.loads(self.tarn("pool", "list", "-o", "json", status=0).stdout)[0])

    def test_alarms_are_those_that_are_active(self):
        self.answer(page())
        for args, want in (((), "active%3Dtrue"), (("--all",), None), (("--filter", "severity=error"), "severity%3Derror%2Cactive%3Dtrue"),
                           (("--filter", "active=false"), "active%3Dfalse"), (("--all", "--filter", "code=x"), "code%3Dx")):
            self.fake.requests.clear()
            self.tarn("alarm", "list", *args, status=0)
            path = self.fake.requests[-1][1]
            self.assertEqual(re.findall(r"filter=([^&]*)", path), [want] if want else [], path)

    def test_the_summary_has_units(self):
        one = {"vm": "v1", "name": "web", "server": "s1"}
        def answers(method, path, headers, body):
            if path.startswith("/api/v1/summary"):
                return (200, {"capacity": {"memory": 1 << 30}, "top_cpu": [one | {"value": 1.234}], "top_memory": [one | {"value": 3 << 20}],
                              "top_disk": [one | {"value": 4096.5}], "top_network": [one | {"value": 5 << 30}]})
            return (200, {"id": "s1", "name": "north"})
        self.fake.handler = answers
        out = " ".join(self.tarn("summary", status=0).stdout.split())
        for name, value in (("cpu", "1.23"), ("memory", "3 MiB"), ("disk", "4 KiB/s"), ("network", "5 GiB/s")):
            self.assertIn(f"top_{name} NAME SERVER VALUE web north {value}", out)
        self.answer((200, {"server": "s1", "cpu": 0.5, "disk_read": 2048, "net_send": 1.5e6, "memory_used": 1 << 20}))
        self.assertRegex(self.tarn("server", "stats", "north", status=0).stdout, r"disk_read +2 KiB/s\n.*net_send +1.4 MiB/s\n")

    def test_warnings_are_said(self):
        """Of a job that ended well, in every format, also with --quiet; and of a change by its answer."""
        job = {"id": "j1", "state": "done", "title": "Create virtual machine a", "object": {"kind": "vm", "id": "1", "name": "a"},
               "warnings": ["it is highly available, but would not start elsewhere"]}
        self.answer((202, job))
        for args in ((), ("-o", "json"), ("-q",), ("--no-wait",)):
            done = self.tarn("vm", "create", "a", "--ha", *args, status=0)
            self.assertEqual(done.stderr.count("tarn: warning: a: it is highly available, but would not"), 1, args)
        self.answer((202, job | {"state": "failed", "error": "no"}))
        self.assertNotIn("warning", self.tarn("vm", "create", "a", "--ha", status=1).stderr)
        self.answer((200, {"id": "1", "name": "a", "guarded_reason": "it is in no server pool"}))
        self.assertIn("a: it is highly available, but would not start elsewhere when its server is lost: it is in no server pool",
                      self.tarn("vm", "set", "a", "--ha", status=0).stderr)
        self.assertEqual(self.tarn("vm", "set", "a", "--description", "x", status=0).stderr, "")

    def test_who_is_tied_by_a_rule(self):
        tied = [{"name": "a", "guarded_reason": 'placement rule "only" leaves it no other server of its pool "p"'}]
        create = ("rule", "create", "only", "--pool", "p", "--type", "on-servers", "--vm", "a", "--server", "s1")
        for must, warned in ((True, True), (False, False)):
            rule = {"id": "1", "name": "only", "must": must}
            self.fake.requests.clear()
            self.fake.handler = lambda method, *_, rule=rule: page(*tied) if method == "GET" else (201, rule)
            said = self.tarn(*create, *(["--must"] if must else []), status=0).stderr
            self.assertEqual('a: it is highly available, but would not start elsewhere when its server is lost: placement rule "only"' in said,
                             warned, said)
            self.assertEqual(len(self.fake.requests), 1 + warned)

    def test_samples_are_rows(self):
        self.answer((200, {"step": 10, "times": [1795252340, 1795252350], "cpu": [0.5, 2], "memory": [1 << 30, 1 << 20],
                           "disk_read": [2048, 0], "disk_write": [1, 2], "net_receive": [], "net_send": []}))
        lines = self.tarn("vm", "metrics", "x", status=0).stdout.splitlines()
        self.assertEqual(lines[0].split(), "TIME CPU MEMORY DISK READ DISK WRITE".split())
        self.assertEqual(lines[1].split(), "2026-11-21T09:12:20Z 0.50 1 GiB 2 KiB 1 B".split())
        self.assertEqual(len(lines), 3)

    def test_every_object_says_what_it_is(self):
        for line in self.tarn("help", status=0, signed_in=False).stdout.split("Other commands")[0].splitlines():
            if line.startswith("  ") and not line.startswith("   "):
                word = line.split()[0]
                self.assertRegex(self.tarn(word, "--help", status=0, signed_in=False).stdout.splitlines()[0], f"^tarn {word}: .")

    def test_dry_run_sends_nothing(self):
        self.answer(None)
        out = self.tarn("vm", "create", "x", "--cpus", "2", "--dry-run", status=0).stdout
        self.assertIn("POST https://127.0.0.1", out)
        self.assertIn('"cpus": 2', out)
        self.assertEqual(self.fake.requests, [])

    def test_pages(self):
        def pages(method, path, headers, body):
            if "after=b" in path:
                return page({"id": "3", "name": "c"})
            return page({"id": "1", "name": "a"}, {"id": "2", "name": "b"}, following="b")
        self.fake.handler = pages
        self.assertEqual(self.tarn("vm", "list", "-o", "name", status=0).stdout, "a\nb\nc\n")
        self.assertEqual(self.tarn("vm", "list", "-o", "name", "--limit", "2", status=0).stdout, "a\nb\n")

    def test_references_are_shown_by_name(self):
        def answers(method, path, headers, body):
            if path.startswith("/api/v1/servers/"):
                return (200, {"id": "s1", "name": "host-1"})
            return page({"id": "1", "name": "a", "server": "s1"})
        self.fake.handler = answers
        self.assertIn("host-1", self.tarn("vm", "list", status=0).stdout)

    # ---- jobs ----

    JOB = {"id": "j1", "kind": "vm.start", "title": "Start x", "state": "running", "progress": 40,
           "steps": [{"name": "create disk", "state": "running"}], "object": {"kind": "vm", "id": "1", "name": "x"}}

    def job_ends(self, **end):
        left = [2]

        def answers(method, path, headers, body):
            if "stream" in path:
                return (404, {"code": "not-found", "message": "no stream"})
            left[0] -= method == "GET"
            return (202 if method == "POST" else 200, dict(self.JOB, **(end if left[0] <= 0 else {})))
        self.fake.handler = answers

    def test_job(self):
        self.job_ends(state="done", progress=100)
        done = self.tarn("vm", "start", "x", status=0)
        self.assertIn("job j1 vm.start: 40% create disk\n", done.stderr)
        self.assertEqual(done.stdout, "Start x: done\n")
        self.job_ends(state="failed", error="no room", error_code="no-space")
        self.assertIn("no room", self.tarn("vm", "start", "x", status=6).stderr)
        self.job_ends(state="aborted", aborted_by="admin")
        self.assertIn("aborted by admin", self.tarn("vm", "start", "x", status=7).stderr)
        # What it says of what is left is true of its kind, and of how far it came.
        for kind, step, left in (("vm.create", "undone", "everything it did is undone"), ("vm.create", "pending", "nothing was done"),
                                 ("vm.stop", "failed", "the guest may still shut down"),
                                 ("server.maintenance", "failed", "guests that it has moved stay where they are")):
            self.job_ends(kind=kind, state="failed", error="in vain", error_code="timeout", steps=[{"name": "a", "state": step}])
            self.assertIn(f"in vain ({left}", self.tarn("vm", "start", "x").stderr)
        self.job_ends(state="done")
        self.assertEqual(json.loads(self.tarn("vm", "start", "x", "-o", "json", status=0).stdout)["state"], "done")
        self.assertEqual(self.tarn("vm", "start", "x", "--no-wait", "-o", "name", status=0).stdout, "j1\n")

    def test_an_end_that_was_asked_for_is_no_failure(self):
        """Maintenance that is ended while guests still move answers with the job that is aborted for it."""
        asked = dict(self.JOB, kind="server.maintenance", abort_requested=True, object={"kind": "server", "id": "1", "name": "north"})
        self.fake.handler = lambda method, *_: (202, asked) if method == "POST" else (200, dict(asked, state="aborted"))
        self.assertEqual(self.tarn("server", "maintenance", "off", "north", status=0).stdout, "server north: done\n")
        self.assertIn("aborted", self.tarn("server", "maintenance", "on", "north", status=7).stderr)

    def test_figures_alone_are_not_told_each_time(self):
        left = [60]

        def answers(method, path, headers, body):
            if "stream" in path:
                return (404, {"code": "not-found", "message": "no stream"})
            left[0] -= 1
            return (202 if method == "POST" else 200, dict(self.JOB, state="running" if left[0] > 52 else "done",
                                                           progress=99 - left[0], message=f"{left[0]}.5 MiB left"))
        self.fake.handler = answers
        lines = [x for x in self.tarn("vm", "start", "x", status=0).stderr.splitlines() if "left" in x]
        self.assertLess(len(lines), 4, lines)

    def test_interrupt_leaves_the_job(self):
        self.job_ends()
        env = dict(os.environ, TARN_URL=f"https://127.0.0.1:{self.fake.port}", TARN_CA=self.dir + "/ca.pem", TARN_TOKEN="t",
                   XDG_CONFIG_HOME=self.config)
        child = subprocess.Popen([CLI, "vm", "start", "x"], env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertIn("40%", child.stderr.readline())
        child.send_signal(2)
        _, error = child.communicate(timeout=20)
        self.assertEqual(child.returncode, 130)
        self.assertIn("tarn job watch j1 / tarn job abort j1", error)

    # ---- sign-in ----

    def fingerprint(self, name="ca.pem"):
        out = subprocess.run(["openssl", "x509", "-in", f"{self.dir}/{name}", "-noout", "-fingerprint", "-sha256"], check=True,
                             capture_output=True, text=True).stdout
        return out.strip().rpartition("=")[2]

    def test_login(self):
        def answers(method, path, headers, body):
            if path.endswith("/sessions"):
                if json.loads(body) != {"name": "admin", "password": "geheim wort"}:
                    return (401, {"code": "unauthenticated", "message": "wrong name or password"})
                return (200, {"user": "admin", "role": "administrator", "secret": "tok123", "csrf": "x"})
            if headers.get("authorization") != "Bearer tok123":
                return (401, {"code": "unauthenticated", "message": "no"})
            if method == "GET":
                return (200, {"user": "admin", "role": "administrator"})
            return b"HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n"
        self.fake.handler = answers
        url = f"https://127.0.0.1:{self.fake.port}"
        login = ("login", url, "--user", "admin", "--password-file", "-")
        self.assertIn("--fingerprint", self.tarn(*login, stdin="geheim wort\n", signed_in=False, status=2).stderr)
        done = self.tarn(*login, "--fingerprint", self.fingerprint("other.pem"), stdin="geheim wort\n", signed_in=False,
                         status=4)
        self.assertIn(self.fingerprint(), done.stderr)
        self.assertEqual(self.fake.requests, [], "nothing is sent to a manager that is not trusted")
        done = self.tarn(*login, "--fingerprint", self.fingerprint(), stdin="x\n", signed_in=False, status=4)
        self.assertIn("wrong name", done.stderr)
        done = self.tarn(*login, "--fingerprint", self.fingerprint(), stdin="geheim wort\n", signed_in=False, status=0)
        self.assertNotIn("tok123", done.stdout + done.stderr)
        stored = self.config + "/tarn/config.json"
        self.assertEqual(os.stat(stored).st_mode & 0o777, 0o600)
        self.tarn("session", "show", signed_in=False, status=0)
        self.tarn(*login, stdin="geheim wort\n", signed_in=False, status=0)
        self.assertIn("admin", self.tarn("profile", "list", signed_in=False, status=0).stdout)
        # The profile's token goes to its own manager only.
        self.tarn("session", "show", signed_in=False, env={"TARN_URL": url.replace("127.0.0.1", "localhost")}, status=4)
        self.tarn("logout", signed_in=False, status=0)
        with open(stored) as f:
            self.assertNotIn("tok123", f.read())
        self.assertIn("tarn login", self.tarn("session", "show", signed_in=False, status=4).stderr)
        self.tarn("session", "show", "--profile", "other", signed_in=False, status=4)

    def test_other_ca(self):
        self.answer(page())
        done = self.tarn("vm", "list", env={"TARN_CA": self.dir + "/other.pem"}, status=6)
        self.assertIn("cannot be trusted", done.stderr)
        self.assertEqual(self.fake.requests, [])
        self.tarn("vm", "list", env={"TARN_CA": "/nonexistent"}, status=6)

    def test_damaged_config(self):
        os.makedirs(self.config + "/tarn")
        with open(self.config + "/tarn/config.json", "w") as f:
            f.write("{nonsense")
        self.assertIn("damaged", self.tarn("vm", "list", signed_in=False, status=2).stderr)

    def test_unreachable(self):
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        done = self.tarn("vm", "list", env={"TARN_URL": f"https://127.0.0.1:{port}"}, status=6)
        self.assertIn("cannot reach", done.stderr)
        self.assertIn("HTTPS", self.tarn("vm", "list", env={"TARN_URL": "http://127.0.0.1"}, status=2).stderr)

    # ---- uploads ----

    def test_upload_goes_on(self):
        """The first request breaks after a part, the second brings the rest."""
        data, state = os.urandom(3 << 20), {"received": 0, "puts": 0}
        image = self.dir + "/image.qcow2"
        with open(image, "wb") as f:
            f.write(data)
        got = bytearray(len(data))

        def answers(method, path, headers, body):
            if method == "POST" and path.endswith("/uploads"):
                return (201, dict(json.loads(body), id="u1", received=0, state="open"))
            if method == "PUT":
                offset = int(path.rpartition("=")[2])
                state["puts"] += 1
                if state["puts"] == 1:
                    got[:1 << 20] = body[:1 << 20]
                    state["received"] = 1 << 20
                    return None
                got[offset:offset + len(body)] = body
                state["received"] = offset + len(body)
                return (200, {"id": "u1", "received": state["received"]})
            if method == "GET" and "uploads" in path:
                return (200, {"id": "u1", "name": "image.qcow2", "size": len(data), "received": state["received"]})
            if method == "GET" and path.endswith("/templates/t"):
                return (404, {"code": "not-found", "message": "there is no template t"})
            return (202, dict(self.JOB, state="done"))
        self.fake.handler = answers
        done = self.tarn("template", "import", "t", "--disk", image, "--format", "qcow2", status=0)
        self.assertIn("trying again", done.stderr)
        self.assertEqual(bytes(got), data)
        body = json.loads(next(r[3] for r in self.fake.requests if r[1].endswith("/templates") and r[0] == "POST"))
        self.assertEqual(body, {"name": "t", "image": {"upload": "u1", "format": "qcow2"}})
        offsets = [r[1] for r in self.fake.requests if r[0] == "PUT"]
        self.assertTrue(offsets[1].endswith("offset=1048576"), offsets)

    def test_upload_is_refused(self):
        image = self.dir + "/small"
        with open(image, "wb") as f:
            f.write(b"x" * 100)
        self.answer((507, {"code": "no-space", "message": "the repository is full"}))
        self.assertIn("full", self.tarn("template", "import", "t", "--disk", image, status=6).stderr)
        self.tarn("template", "import", "t", "--disk", self.dir + "/none", status=2)
        self.tarn("template", "import", "t", "--disk", self.dir, status=2)
        self.tarn("template", "import", "t", status=2)
        self.tarn("template", "import", "t", "--initrd", image, status=2)
        self.tarn("template", "import", "t", "--disk", image, "--format", "qcow3", status=2)

    def test_completion_in_bash(self):
        self.answer(page({"id": "1", "name": "my vm"}, {"id": "2", "name": "mine"}))
        script = f"""export PATH={os.path.dirname(CLI)}:$PATH; source <(tarn completion bash)
            ask() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tarn; printf '%s|' "${{COMPREPLY[@]}}"; echo; }}
            ask tarn vm sta; ask tarn vm create x --mach; ask tarn vm create x --machine ''; ask tarn vm start m; ask tarn jo"""
        env = dict(os.environ, TARN_URL=f"https://127.0.0.1:{self.fake.port}", TARN_CA=self.dir + "/ca.pem", TARN_TOKEN="t",
                   XDG_CONFIG_HOME=self.config)
        done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stdout.split("\n"),
                         ["start|stats|", "--machine|", "q35|microvm|", "my\\ vm|mine|", "job|", ""], done.stderr)

    def test_closed_pipe(self):
        self.answer(page(*({"id": str(i), "name": f"vm{i}"} for i in range(20000))))
        env = dict(os.environ, TARN_URL=f"https://127.0.0.1:{self.fake.port}", TARN_CA=self.dir + "/ca.pem", TARN_TOKEN="t",
                   XDG_CONFIG_HOME=self.config)
        done = subprocess.run(["sh", "-c", f"{CLI} vm list -o name | head -1"], env=env, capture_output=True, text=True,
                              timeout=60)
        self.assertEqual((done.stdout, done.stderr), ("vm0\n", ""))


if __name__ == "__main__":
    unittest.main()
