# SPDX-License-Identifier: Apache-2.0
"""The manager on the wire: HTTP's corners, cookies, and the bulk channels against an agent that this test plays itself."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import uuid

import cluster
import ws


class Raw:
    """One TLS connection on which a test writes what it likes."""

    def __init__(self, case, receive_buffer=None):
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(10)
        raw.connect(("127.0.0.1", case.cluster.manager.port))
        self.s = case.api.context.wrap_socket(raw, server_hostname="127.0.0.1")
        self.token = case.api.token
        self.buffer = b""

    def send(self, method, path, *lines, body=b"", sign_in=True):
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"] + list(lines)
        if sign_in:
            lines.append(f"Authorization: Bearer {self.token}")
        self.s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    def more(self):
        data = self.s.recv(65536)
        if not data:
            raise EOFError("closed")
        self.buffer += data

    def read(self, head=False):
        """(status, headers, body) of the next answer."""
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        top, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = top.decode().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        status = int(lines[0].split(" ")[1])
        length = 0 if head or status in (100, 204) else int(headers["content-length"])
        while len(self.buffer) < length:
            self.more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return status, headers, body

    def closed(self):
        """Whether the other side has ended the connection."""
        try:
            return not self.s.recv(1)
        except (ssl.SSLError, ConnectionError):
            return True

    def close(self):
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Http(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def test_guesses_at_once_count_like_one_after_another(self):
        self.api.post("/users", {"name": "guessed", "password": "longenough"})
        results = []

        def guess(number):
            results.append(self.api.copy().raw("POST", "/sessions", {"name": "guessed", "password": f"wrong{number:05}"}).status)
        threads = [threading.Thread(target=guess, args=(number,)) for number in range(60)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        self.assertEqual(len(results), 60)
        self.assertLessEqual(results.count(401), 15)  # ten, and one more for each 6 s that this takes
        self.assertEqual(results.count(401) + results.count(429), 60)
        self.api.delete("/users/guessed")
        self.api.post("/users", {"name": "known", "password": "longenough"})
        for _ in range(15):  # who knows the password is not counted
            self.api.copy().sign_in("known", "longenough")
        self.api.delete("/users/known")

    def test_head_and_options(self):
        with Raw(self) as c:
            c.send("HEAD", "/api/v1/users")
            status, headers, _ = c.read(head=True)
            self.assertEqual(status, 200)
            self.assertGreater(int(headers["content-length"]), 10)
            c.send("OPTIONS", "/api/v1/users")
            status, headers, _ = c.read()
            self.assertEqual((status, headers["allow"]), (204, "GET, POST"))
            c.send("GET", "/api/v1/about")
            self.assertEqual(c.read()[0], 200)

    def test_headers_of_answers(self):
        with Raw(self) as c:
            body = b'{"name":"located","password":"longenough"}'
            c.send("POST", "/api/v1/users", f"Content-Length: {len(body)}", body=body)
            status, headers, body = c.read()
            self.assertEqual(status, 201)
            self.assertEqual(headers["location"], "/api/v1/users/" + json.loads(body)["id"])
            self.assertEqual(headers["etag"], f'"{json.loads(body)["revision"]}"')
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["cache-control"], "no-store")
        self.api.delete("/users/located")

    def test_chunked_bodies(self):
        with Raw(self) as c:
            c.send("POST", "/api/v1/users", "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n")
            self.assertEqual(c.read()[0], 411)
            self.assertTrue(c.closed())

    def test_a_post_without_length_has_no_body(self):
        with Raw(self) as c:
            c.send("POST", "/api/v1/vms/none/start")
            status, headers, _ = c.read()
            self.assertEqual((status, headers["connection"]), (404, "close"))

    def test_heads_that_are_refused(self):
        def status(text):
            with Raw(self) as c:
                c.s.sendall(text)
                got, headers, body = c.read()
                self.assertEqual(headers["connection"], "close")
                self.assertTrue(json.loads(body)["error"]["message"])
                self.assertTrue(c.closed())
                return got
        self.assertEqual(status(b"GET /api/v1/about HTTP/2.0\r\nHost: x\r\n\r\n"), 505)
        self.assertEqual(status(b"GET /api/v1/about HTTP/1.1\r\nHost: x\r\nCookie: a=" + b"x" * 20000 + b"\r\n\r\n"), 431)
        self.assertEqual(status(b"GET /api/v1/about?fields=" + b"x" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"), 431)
        self.assertEqual(status(b"GET /api/v1/" + b"x" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"), 431)
        self.assertEqual(status(b"GET /api/v1/about HTTP/1.1\r\n\r\n"), 400)
        self.assertEqual(status(b"GET /api/v1/about HTTP/1.1\r\nHost : x\r\n\r\n"), 400)
        for name in (b"Content-Length", b"transfer-encoding"):
            for blanks in (b" ", b"\t", b"  ", b" \t"):
                request = b"GET /api/v1/about HTTP/1.1\r\nHost: x\r\n" + name + blanks + b": 5\r\n\r\n"
                with self.subTest(request):
                    self.assertEqual(status(request), 400)
        with Raw(self) as c:
            c.s.sendall(b"GET /api/v1/about HTTP/1.0\r\n\r\n")
            self.assertEqual(c.read()[0], 200)
        self.assertEqual(self.api.raw("GET", "/about", headers={"X-Long": "x" * 9000}).status, 200)

    def test_repeated_lengths(self):
        for lines in (("Content-Length: 2", "Content-Length: 2"), ("Content-Length: 2, 2",), ("Content-Length: +2",),
                      ("Content-Length: 0x2",), ("Content-Length: 2 2",)):
            with self.subTest(lines), Raw(self) as c:
                c.send("POST", "/api/v1/users", *lines, body=b"{}")
                self.assertEqual(c.read()[0], 400)

    def test_an_upload_of_gigabytes_is_refused_at_once(self):
        with Raw(self) as c:
            c.send("POST", "/api/v1/users", f"Content-Length: {1 << 40}", body=b"x" * 4096)
            status, headers, body = c.read()
            self.assertEqual((status, headers["connection"]), (413, "close"))
            self.assertEqual(json.loads(body)["error"]["code"], "too-large")

    def test_expect_continue(self):
        body = b'{"full_name":"Continued"}'
        with Raw(self) as c:
            c.send("PATCH", "/api/v1/users/admin", f"Content-Length: {len(body)}", "Expect: 100-continue")
            self.assertEqual(c.read()[0], 100)
            c.s.sendall(body)
            self.assertEqual(c.read()[0], 200)

    def test_a_body_byte_by_byte(self):
        body = b'{"full_name":"Slow"}'
        with Raw(self) as c:
            c.send("PATCH", "/api/v1/users/admin", f"Content-Length: {len(body)}")
            for i in range(len(body)):
                c.s.sendall(body[i:i + 1])
            status, _, answer = c.read()
            self.assertEqual((status, json.loads(answer)["full_name"]), (200, "Slow"))

    def test_bodies_where_none_is_taken(self):
        self.refused(404, "not-found", "POST", "/vms/none/start", {})
        self.refused(400, "invalid", "POST", "/vms/none/start", {"force": True})
        self.refused(400, "invalid", "POST", "/users", b"\x1f\x8b\x08", {"Content-Encoding": "gzip"})

    def test_upgrades_and_their_paths(self):
        with Raw(self) as c:
            c.send("GET", "/api/v1/stream")
            self.assertEqual(c.read()[0], 400)
            c.send("GET", "/api/v1/users", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x",
                   "Sec-WebSocket-Version: 13")
            self.assertEqual(c.read()[0], 400)
        for path in ("/agent/v1", "/agent/v1/channel/0", "/agent/v2", "/"):
            with self.assertRaises(ws.Refused) as refused:
                ws.WebSocket("127.0.0.1", self.cluster.manager.port, path, context=self.api.context)
            self.assertIn(refused.exception.status, (401, 404))

    def test_the_page_at_the_root(self):
        answer = self.cluster.manager.client().raw("GET", "//")
        self.assertEqual(answer.status, 200)
        self.assertIn(b"/api/v1", answer.data)
        self.assertEqual(self.cluster.manager.client().raw("GET", "//nothing-here").status, 404)

    def test_metrics_need_a_sign_in(self):
        self.assertEqual(self.cluster.manager.client().raw("GET", "//metrics").status, 401)

    def test_an_expired_token_is_told_so(self):
        made = self.api.post("/tokens", {"name": "brief", "lifetime": 1})
        brief = self.api.copy(made["secret"])
        with brief.socket("/stream") as stream:
            time.sleep(1.2)
            answer = brief.raw("GET", "/users")
            self.assertEqual(answer.status, 401)
            self.assertIn("expired", answer.json["message"])
            self.assertEqual(answer.headers["www-authenticate"], "Bearer")
            with self.assertRaises(ws.Closed) as closed:
                for _ in range(1000):
                    stream.receive(5)
            self.assertEqual(closed.exception.code, 4401)

    # ---- cookies ----

    def cookie(self):
        client = self.cluster.manager.client()
        answer = client.raw("POST", "/sessions", {"name": "admin", "password": self.cluster.manager.password()})
        header = answer.headers["set-cookie"]
        for attribute in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/"):
            self.assertIn(attribute, header)
        return header.split(";")[0], answer.json

    def test_a_cookie_reads_but_changes_only_with_csrf(self):
        cookie, session = self.cookie()
        client = self.cluster.manager.client()
        shown = client.raw("GET", "/sessions/current", headers={"Cookie": "other=1; " + cookie})
        self.assertEqual((shown.status, shown.json["csrf"]), (200, session["csrf"]))
        change = {"full_name": "By cookie"}
        for extra in ({}, {"X-Tarn-CSRF": "0" * 64}, {"X-Tarn-CSRF": session["secret"]},
                      {"X-Tarn-CSRF": session["csrf"], "Origin": "https://evil.example"}):
            self.assertEqual(client.raw("PATCH", "/users/admin", change, {"Cookie": cookie, **extra}).status, 403, extra)
        origin = self.cluster.manager.url
        good = {"Cookie": cookie, "X-Tarn-CSRF": session["csrf"], "Origin": origin}
        self.assertEqual(client.raw("PATCH", "/users/admin", change, good).status, 200)
        done = client.raw("DELETE", "/sessions/current", headers=good)
        self.assertEqual(done.status, 204)
        self.assertIn("Max-Age=0", done.headers["set-cookie"])
        self.assertEqual(client.raw("GET", "/sessions/current", headers={"Cookie": cookie}).status, 401)

    def test_a_cookie_opens_sockets_only_for_its_own_pages(self):
        cookie, _ = self.cookie()
        url = urllib.parse.urlsplit(self.cluster.manager.url)

        def open_stream(**headers):
            return ws.WebSocket("127.0.0.1", url.port, "/api/v1/stream", {"Cookie": cookie, **headers}, self.api.context)
        open_stream(Origin=self.cluster.manager.url).close()
        for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
            with self.assertRaises(ws.Refused) as refused:
                open_stream(**headers)
            self.assertEqual(refused.exception.status, 403)

    # ---- slow clients ----

    def test_a_client_that_does_not_read_its_answer(self):
        for number in range(40):
            self.api.post("/tokens", {"name": f"filler{number}"})
        with Raw(self, receive_buffer=2048) as lazy:
            for _ in range(50):
                lazy.send("GET", "/api/v1/events?limit=1000")
            began = time.monotonic()
            for _ in range(50):
                self.api.get("/about")
            self.assertLess(time.monotonic() - began, 5)

    def test_a_client_that_reads_slowly(self):
        for number in range(30):
            self.api.post("/users", {"name": f"slow{number}", "password": "longenough", "full_name": "x" * 200})
        whole = self.api.raw("GET", "/events?limit=1000").data
        with Raw(self, receive_buffer=2048) as slow:
            slow.send("GET", "/api/v1/events?limit=1000")
            time.sleep(0.5)
            status, _, body = slow.read()
            self.assertEqual((status, json.loads(body)["items"]), (200, json.loads(whole)["items"]))
        for number in range(30):
            self.api.delete(f"/users/slow{number}")

    def test_bodies_of_strangers_are_short(self):
        client = self.cluster.manager.client()
        answer = client.raw("POST", "/sessions", b" " * 100000 + b"{}")
        self.assertEqual((answer.status, answer.json["code"]), (413, "too-large"))

    def test_many_sign_ins_at_once(self):
        statuses = []

        def attempt():
            client = self.cluster.manager.client()
            statuses.append(client.raw("POST", "/sessions", {"name": "admin", "password": self.cluster.manager.password()}).status)
            client.close()
        threads = [threading.Thread(target=attempt) for _ in range(30)]
        for t in threads:
            t.start()
        began = time.monotonic()
        self.assertEqual(self.api.raw("GET", "/users").status, 200)
        self.assertLess(time.monotonic() - began, 2)
        for t in threads:
            t.join()
        self.assertEqual(set(statuses) - {201, 429}, set())
        self.assertIn(201, statuses)


class Starting(cluster.unittest.TestCase):
    def setUp(self):
        self.c = cluster.Cluster(0)
        self.addCleanup(self.c.close)

    def test_check_and_metrics_public_and_renewal(self):
        self.c.manager.start(more=["--metrics-public", "--name", "tarn.example"])
        self.assertEqual(self.c.manager.client().raw("GET", "//metrics").status, 200)
        pem = ssl.get_server_certificate(("127.0.0.1", self.c.manager.port))
        text = subprocess.run(["openssl", "x509", "-noout", "-text"], input=pem, capture_output=True, text=True).stdout
        self.assertIn("tarn.example", text)
        self.c.manager.stop()
        done = subprocess.run(self.c.manager.arguments("--check"), capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in ("ca.key", "server.key", "admin-password"):
            self.assertEqual(os.stat(os.path.join(self.c.manager.state, name)).st_mode & 0o777, 0o600)

    def test_stops_within_two_seconds_with_clients(self):
        self.c.start()
        stream = self.c.api.socket("/stream")
        idle = self.c.api.copy()
        idle.get("/about")
        began = time.monotonic()
        self.assertEqual(self.c.manager.stop(), 0)
        self.assertLess(time.monotonic() - began, 10)
        with self.assertRaises(ws.Closed) as closed:
            for _ in range(100):
                stream.receive(5)
        self.assertEqual(closed.exception.code, 1001)

    def test_notifies_systemd(self):
        path = self.c.dir + "/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(path)
            s.settimeout(20)
            self.c.manager.start({"NOTIFY_SOCKET": path})
            self.assertEqual(s.recv(100), b"READY=1")
            self.c.manager.stop()
            self.assertEqual(s.recv(100), b"STOPPING=1")

    def test_one_half_of_the_authority_is_missing(self):
        self.c.start()
        self.c.manager.stop()
        os.unlink(os.path.join(self.c.manager.state, "ca.key"))
        done = subprocess.run(self.c.manager.arguments(), capture_output=True, text=True, timeout=30)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("ca.key", done.stderr)


class FakeAgent(threading.Thread):
    """A server's agent as far as the manager can tell: says yes to every op, and keeps what it was asked."""

    def __init__(self, case, name):
        super().__init__(daemon=True)
        self.case, self.asked, self.refuse, self.silent = case, [], {}, set()
        self.lock = threading.Lock()
        self.context = self.join_manager(name)
        self.control = self.dial("/agent/v1")
        version = case.api.get("/about")["version"]
        self.tell("hello", {"version": version, "protocol": 1, "server": {"name": name, "hardware": {"cpus": 8, "memory": 1 << 34},
                  "hypervisors": [{"driver": "sim", "accelerator": "none", "usable": True}]}})
        self.control.receive()
        self.tell("report", {"guests": [], "repositories": [], "done": [], "active": []})
        self.start()

    def join_manager(self, name):
        api, folder = self.case.api, self.case.cluster.dir
        key, csr, pem = (f"{folder}/{name}.{end}" for end in ("key", "csr", "pem"))
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                        "-out", csr, "-subj", "/CN=x"], check=True, capture_output=True)
        secret = api.post("/server-tokens", {"name": name})["secret"]
        with open(csr) as f:
            joined = api.post("/join", {"token": secret, "csr": f.read(), "name": name})
        with open(pem, "w") as f:
            f.write(joined["certificate"])
        context = ssl.create_default_context(cafile=self.case.cluster.manager.ca)
        context.load_cert_chain(pem, key)
        return context

    def dial(self, path, **options):
        return ws.WebSocket("127.0.0.1", self.case.cluster.manager.port, path, context=self.context, **options)

    def tell(self, event, args):
        with self.lock:
            self.control.send(json.dumps({"event": event, "args": args}))

    def run(self):
        states = {"guest.start": "running", "guest.stop": "stopped", "guest.kill": "stopped"}
        try:
            while True:
                try:
                    message = json.loads(self.control.receive(1))
                except TimeoutError:
                    continue
                if "op" not in message:
                    continue
                self.asked.append(message)
                if message["op"] in self.silent:
                    continue
                answer = {"id": message["id"], "ok": True, "result": {}}
                args = message.get("args", {})
                if message["op"] in self.refuse:
                    answer = {"id": message["id"], "ok": False, "error": self.refuse[message["op"]]}
                elif message["op"] in states:
                    vm = args.get("vm", {})
                    key = vm["id"] if isinstance(vm, dict) else vm
                    answer["result"] = {"vm": key, "state": states[message["op"]], "sequence": len(self.asked), "hypervisor": "sim"}
                elif message["op"] == "repository.open":
                    answer["result"] = {"repository": args["repository"], "usable": True, "capacity": 1 << 40, "free": 1 << 39}
                with self.lock:
                    self.control.send(json.dumps(answer))
        except (ws.Closed, OSError, ValueError):
            pass

    def channel(self, timeout=10):
        """The args of the next channel.open."""
        def found():
            for message in self.asked:
                if message["op"] == "channel.open":
                    self.asked.remove(message)
                    return message["args"]
            return None
        return cluster.wait_until(found, timeout, "channel.open")

    def end(self):
        # Not closed before the thread has seen the end: the next connection may get the number, and the thread its first bytes.
        with contextlib.suppress(OSError):
            self.control.sock.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is not self:
            self.join(30)
        self.control.sock.close()


class Channels(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    @classmethod
    def prepare(cls):
        case = cls("test_serial")
        cls.agent = FakeAgent(case, "fake")
        cls.api.do("/repositories", {"name": "local", "path": "/srv/none"})
        cls.api.do("/vms", {"name": "guest", "memory": 64 << 20, "start": True})

    def open_console(self, query="", **options):
        client = self.api.copy()
        got = {}

        def connect():
            got["ws"] = client.socket("/vms/guest/console" + query, **options)
        t = threading.Thread(target=connect)
        t.start()
        t.join(10)
        return got["ws"]

    def test_serial(self):
        with self.open_console() as console:
            console.send(b"early")
            args = self.agent.channel()
            self.assertEqual((args["type"], args["vm"]), ("serial", self.api.get("/vms/guest")["id"]))
            agent = self.agent.dial("/agent/v1/channel/" + args["channel"])
            self.assertEqual(agent.receive(), b"early")
            agent.send(b"login: ")
            self.assertEqual(console.receive(), b"login: ")
            with self.assertRaises(ws.Refused):  # a channel is dialled once
                self.agent.dial("/agent/v1/channel/" + args["channel"])
            agent.send((1000).to_bytes(2, "big") + "the end".encode(), ws.CLOSE)
            with self.assertRaises(ws.Closed) as closed:
                console.receive()
            self.assertEqual((closed.exception.code, closed.exception.reason), (1000, "the end"))

    def test_back_pressure_both_ways(self):
        with self.open_console(receive_buffer=4096) as console:
            agent = self.agent.dial("/agent/v1/channel/" + self.agent.channel()["channel"])
            total, piece = 24 << 20, os.urandom(1 << 16)
            resident = self.resident()

            def pump(source):
                for _ in range(total // len(piece)):
                    source.sock.settimeout(60)
                    source.send(piece)
            for source, sink in ((agent, console), (console, agent)):
                sender = threading.Thread(target=pump, args=(source,))
                sender.start()
                time.sleep(0.5)
                self.assertTrue(sender.is_alive(), "the sender must be held up")
                self.assertLess(self.resident() - resident, 12 << 20)
                got = 0
                while got < total:
                    got += len(sink.receive())
                sender.join()
                self.assertEqual(got, total)
            agent.close()

    def resident(self):
        """Of the manager, in bytes; 0 under AddressSanitizer, which keeps what has been freed."""
        with open(f"/proc/{self.cluster.manager.pid}/maps") as f:
            if "libasan" in f.read():
                return 0
        with open(f"/proc/{self.cluster.manager.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def test_a_console_ends_with_the_role(self):
        self.api.post("/users", {"name": "op1", "password": "longenough", "role": "operator"})
        demoted = self.api.copy().sign_in("op1", "longenough")
        with demoted.socket("/vms/guest/console") as console:
            agent = self.agent.dial("/agent/v1/channel/" + self.agent.channel()["channel"])
            console.send(b"still may")
            self.assertEqual(agent.receive(), b"still may")
            self.api.patch("/users/op1", {"role": "viewer"})
            with self.assertRaises(ws.Closed) as closed:
                console.receive(10)
            self.assertEqual(closed.exception.code, 4403)
            with self.assertRaises(ws.Closed):
                agent.receive()
        self.api.delete("/users/op1")

    def test_the_client_goes(self):
        console = self.open_console()
        agent = self.agent.dial("/agent/v1/channel/" + self.agent.channel()["channel"])
        console.sock.close()
        with self.assertRaises(ws.Closed):
            agent.receive()

    def test_the_agent_refuses(self):
        self.agent.refuse["channel.open"] = {"code": "guest", "message": "its console is gone"}
        try:
            with self.open_console("?type=vnc") as console, self.assertRaises(ws.Closed) as closed:
                console.receive()
            self.assertEqual((closed.exception.code, closed.exception.reason), (4013, 'server "fake": its console is gone'))
        finally:
            self.agent.refuse.clear()
            self.agent.asked.clear()

    def test_the_agent_does_not_dial(self):
        with self.open_console() as console, self.assertRaises(ws.Closed) as closed:
            self.agent.channel()
            console.receive(15)
        self.assertEqual(closed.exception.code, 4012)

    def test_consoles_that_cannot_be(self):
        self.api.do("/vms", {"name": "off", "memory": 64 << 20, "display": "none"})
        for path, status in (("/vms/off/console", 409), ("/vms/none/console", 404), ("/vms/guest/console?type=spice", 400),
                             ("/vms/guest/console?colour=1", 400)):
            with self.assertRaises(ws.Refused) as refused:
                self.api.socket(path)
            self.assertEqual(refused.exception.status, status, path)
        with self.open_console() as console:
            args = self.agent.channel()
            other = FakeAgent(self, "other")
            with self.assertRaises(ws.Refused) as refused:  # another server's channel
                other.dial("/agent/v1/channel/" + args["channel"])
            self.assertEqual(refused.exception.status, 404)
            other.end()
            console.close()

    # ---- uploads ----

    def begin_upload(self, size, sent, offset=0, key=None, length=None):
        key = key or self.api.post("/uploads", {"name": "file", "size": size})["id"]
        c = Raw(self)
        c.send("PUT", f"/api/v1/uploads/{key}/data?offset={offset}", f"Content-Length: {length or size - offset}", body=sent)
        args = self.agent.channel()
        self.assertEqual((args["type"], args["upload"], args.get("offset", 0), args["size"]), ("upload", key, offset, size))
        return key, c, self.agent.dial("/agent/v1/channel/" + args["channel"])

    def receive_upload(self, agent, size):
        got = b""
        while len(got) < size:
            got += agent.receive()
        return got

    def test_upload(self):
        data = os.urandom(3 << 20)
        key, c, agent = self.begin_upload(len(data), data[:1000])
        c.s.sendall(data[1000:])
        self.assertEqual(self.receive_upload(agent, len(data)), data)
        self.assertEqual(json.loads(agent.receive()), {"end": True})
        agent.send(json.dumps({"received": len(data)}))
        status, _, body = c.read()
        self.assertEqual((status, json.loads(body)["received"], json.loads(body)["state"]), (200, len(data), "complete"))
        with self.assertRaises(ws.Closed):
            agent.receive()
        c.close()

    def test_upload_with_a_request_behind_it(self):
        """Of what came together with its end the agent sees nothing."""
        data = os.urandom(4000)
        behind = b"GET /api/v1/about HTTP/1.1\r\nHost: x\r\n\r\n"
        for first in (0, 1000):
            key, c, agent = self.begin_upload(len(data), data[:first] if first else data + behind)
            if first:
                self.assertEqual(self.receive_upload(agent, first), data[:first])
                c.s.sendall(data[first:] + behind)
            self.assertEqual(self.receive_upload(agent, len(data) - first), data[first:])
            self.assertEqual(json.loads(agent.receive()), {"end": True})
            agent.send(json.dumps({"received": len(data)}))
            status, headers, body = c.read()
            self.assertEqual((status, json.loads(body)["state"]), (200, "complete"))
            if headers.get("connection") != "close":
                self.assertEqual(c.read()[0], 200)
            else:
                self.assertTrue(c.closed())
            c.close()

    def test_upload_whose_answer_overtakes_the_event(self):
        key, c, agent = self.begin_upload(2000, b"x" * 1000, length=1000)
        self.receive_upload(agent, 1000)
        agent.send(json.dumps({"received": 1000}))
        status, _, body = c.read()
        self.assertEqual((status, json.loads(body)["received"], json.loads(body)["state"]), (200, 1000, "open"))
        self.assertEqual(self.api.get("/uploads/" + key)["received"], 1000)
        _, c, agent = self.begin_upload(2000, b"y" * 1000, offset=1000, key=key)
        self.receive_upload(agent, 1000)
        agent.send(json.dumps({"received": 2000}))
        status, _, body = c.read()
        self.assertEqual((status, json.loads(body)["state"]), (200, "complete"))
        self.assertEqual(self.api.get("/uploads/" + key)["state"], "complete")

    def test_upload_that_the_agent_refuses(self):
        _, c, agent = self.begin_upload(1 << 20, b"x" * 4096)
        agent.send(json.dumps({"error": {"code": "no-space", "message": "the repository is full"}}))
        status, _, body = c.read()
        self.assertEqual((status, json.loads(body)["error"]["message"]), (507, 'server "fake": the repository is full'))
        c.close()

    def test_upload_whose_client_breaks_off(self):
        _, c, agent = self.begin_upload(1 << 20, b"x" * 4096)
        self.assertEqual(len(self.receive_upload(agent, 4096)), 4096)
        c.close()
        with self.assertRaises(ws.Closed) as closed:
            agent.receive()
        self.assertEqual(closed.exception.code, 4020)

    def test_upload_at_the_pace_of_the_agent(self):
        size = 64 << 20
        key, c, agent = self.begin_upload(size, b"")
        c.s.settimeout(30)
        resident = self.resident()
        sender = threading.Thread(target=lambda: [c.s.sendall(bytes(1 << 16)) for _ in range(size >> 16)])
        sender.start()
        time.sleep(1)
        self.assertTrue(sender.is_alive(), "the sender must be held up")
        self.assertLess(self.resident() - resident, 12 << 20)
        left = size
        while left > 0:
            left -= len(agent.receive())
        sender.join()
        self.assertEqual(json.loads(agent.receive()), {"end": True})
        agent.send(json.dumps({"received": size}))
        self.assertEqual(c.read()[0], 200)
        c.close()

    def test_upload_whose_agent_is_lost(self):
        _, c, agent = self.begin_upload(1 << 20, b"x" * 4096)
        agent.sock.close()
        status, _, body = c.read()
        self.assertEqual((status, json.loads(body)["error"]["code"]), (503, "unavailable"))
        c.close()

    # ---- statistics and silence ----

    def test_statistics(self):
        vm = self.api.get("/vms/guest")["id"]
        self.refused(404, "not-found", "GET", "/vms/none/stats")
        self.agent.tell("stats", {"server": {"cpu": 1.5, "memory_used": 7}, "vms": [{"vm": vm, "cpu": 0.25, "memory": 99}]})
        cluster.wait_until(lambda: self.api.raw("GET", "/vms/guest/stats").status == 200, 5)
        self.assertEqual(self.api.get("/vms/guest/stats")["memory"], 99)
        self.assertEqual(self.api.get("/servers/fake/stats")["cpu"], 1.5)
        self.assertIn('tarn_server_cpu{server="fake"} 1.5', self.api.raw("GET", "//metrics").data.decode())
        self.agent.tell("stats", {"server": {"cpu": 1}, "vms": []})
        cluster.wait_until(lambda: self.api.raw("GET", "/vms/guest/stats").status == 404, 5)

    def test_a_server_tells_of_no_other_servers_guests(self):
        vm, other = self.api.get("/vms/guest")["id"], FakeAgent(self, "liar")
        self.addCleanup(other.end)
        self.agent.tell("stats", {"server": {"cpu": 1}, "vms": [{"vm": vm, "cpu": 0.25, "memory": 99}]})
        cluster.wait_until(lambda: self.api.raw("GET", "/vms/guest/stats").status == 200, 5)
        other.tell("stats", {"server": {"cpu": 3.5}, "vms": [{"vm": vm, "cpu": 200, "memory": 1}] + [{"vm": "guest"}, {"vm": ""}] +
                             [{"vm": str(uuid.uuid4())} for _ in range(5000)]})
        cluster.wait_until(lambda: self.api.raw("GET", "/servers/liar/stats").status == 200, 5)
        self.assertEqual(self.api.get("/vms/guest/stats")["memory"], 99)
        other.tell("stats", {"server": {"cpu": 4.5}, "vms": []})
        cluster.wait_until(lambda: self.api.get("/servers/liar/stats")["cpu"] == 4.5, 5)
        self.assertEqual(self.api.get("/vms/guest/stats")["memory"], 99)

    def test_a_silent_agent_is_dropped(self):
        silent = FakeAgent(self, "silent")
        cluster.wait_until(lambda: self.cluster.online("silent"), 5)
        silent.control._fill = lambda deadline: time.sleep(0.05) or (_ for _ in ()).throw(TimeoutError())  # reads nothing more
        cluster.wait_until(lambda: not self.cluster.online("silent"), 25, "the silence noticed")
        silent.end()
