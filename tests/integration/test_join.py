# SPDX-License-Identifier: Apache-2.0
"""Servers that join: tokens once, fingerprints checked, versions one minor apart, certificates known."""

import http.server
import json
import os
import re
import subprocess
import threading

import cluster
import rest
import ws


class Join(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def join(self, name, secret, fingerprint):
        agent = cluster.Agent(self.cluster, name)
        agent.join(secret, fingerprint)
        return agent

    def join_fails(self, name, token, env=None):
        """What tarn-agent join says when it fails; the server is not there then."""
        state = os.path.join(self.cluster.dir, name)
        done = subprocess.run([cluster.AGENT, "join", "--manager", self.cluster.manager.url, "--name", name, "--state-dir", state],
                              env=dict(os.environ, TARN_JOIN_TOKEN=f"{token['secret']}.{token['ca_fingerprint']}", **(env or {})),
                              capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.refused(404, "not-found", "GET", "/servers/" + name)
        return done.stderr

    def request(self, name):
        key, csr = (os.path.join(self.cluster.dir, f"{name}.{end}") for end in ("key", "csr"))
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                        key, "-out", csr, "-subj", f"/CN={name}"], check=True, capture_output=True)
        with open(csr) as f:
            return key, f.read()

    def fake(self, name):
        """Joins by hand; an SSL context with the server's certificate."""
        token = self.api.post("/server-tokens", {"name": name})
        key, csr = self.request(name)
        joined = self.cluster.manager.client().post("/join", {"token": token["secret"], "csr": csr, "name": name})
        certificate = os.path.join(self.cluster.dir, name + ".pem")
        with open(certificate, "w") as f:
            f.write(joined["certificate"])
        context = rest.ssl.create_default_context(cafile=self.cluster.manager.ca)
        context.load_cert_chain(certificate, key)
        return context

    def hello(self, context, version, protocol=1):
        socket = ws.WebSocket("127.0.0.1", self.cluster.manager.port, "/agent/v1", context=context)
        socket.send(json.dumps({"event": "hello", "args": {"version": version, "protocol": protocol,
                                                           "server": {"name": "x"}}}))
        return socket

    def test_a_token_serves_once(self):
        token = self.api.post("/server-tokens", {"name": "once"})
        self.join("once", token["secret"], token["ca_fingerprint"])
        with self.assertRaises(AssertionError) as failed:
            self.join("twice", token["secret"], token["ca_fingerprint"])
        self.assertIn("token", str(failed.exception).lower())
        self.refused(404, "not-found", "GET", "/servers/twice")

    def test_an_expired_token(self):
        token = self.api.post("/server-tokens", {"name": "late", "lifetime": 1})
        cluster.time.sleep(1.5)
        with self.assertRaises(AssertionError) as failed:
            self.join("late", token["secret"], token["ca_fingerprint"])
        self.assertIn("expired", str(failed.exception).lower())

    def test_another_manager_than_expected(self):
        token = self.api.post("/server-tokens", {"name": "wary"})
        with self.assertRaises(AssertionError) as failed:
            self.join("wary", token["secret"], "0" * 64)
        self.assertIn("fingerprint", str(failed.exception).lower())
        # Nothing was sent, so the token still serves.
        self.join("wary", token["secret"], token["ca_fingerprint"])

    def test_another_managers_token(self):
        other = cluster.Cluster(0).start()
        try:
            foreign = other.api.post("/server-tokens", {"name": "foreign"})
        finally:
            other.close()
        # With its own fingerprint nothing is sent to us; with ours the token is nobody's.
        self.assertIn("fingerprint", self.join_fails("foreign", foreign))
        own = self.api.post("/server-tokens", {"name": "own"})
        self.assertIn("token", self.join_fails("foreign", dict(foreign, ca_fingerprint=own["ca_fingerprint"])))

    def test_what_is_missing_is_named(self):
        """A token that was not copied whole, none at all, and a URL without the port, which is 8443 and not that of HTTPS."""
        def says(token, url=None):
            env = {k: v for k, v in os.environ.items() if k != "TARN_JOIN_TOKEN"}
            done = subprocess.run([cluster.AGENT, "join", "--manager", url or self.cluster.manager.url, "--state-dir",
                                   os.path.join(self.cluster.dir, "nobody")], env=dict(env, **({"TARN_JOIN_TOKEN": token} if token else {})),
                                  capture_output=True, text=True, timeout=60)
            self.assertNotEqual(done.returncode, 0)
            return done.stderr
        token = self.api.post("/server-tokens", {"name": "part"})
        whole = f"{token['secret']}.{token['ca_fingerprint']}"
        self.assertIn("TARN_JOIN_TOKEN", says(None))
        for part in ("SECRET.FINGERPRINT", token["secret"], whole[:-1], whole + "0"):
            self.assertIn("not whole", says(part))
        for url in ("https://127.0.0.66", "https://127.0.0.66/"):
            self.assertIn("port 8443", says(whole, url))

    def test_what_can_fail_fails_before_the_token_is_used(self):
        token = self.api.post("/server-tokens", {"name": "early"})
        folder = os.path.join(self.cluster.dir, "early-states")
        os.makedirs(os.path.join(folder, "taken", "agent.crt"))
        with open(os.path.join(folder, "file"), "w") as f:
            f.write("no directory")

        def says(state, **more):
            done = subprocess.run([cluster.AGENT, "join", "--manager", self.cluster.manager.url, "--name", "early", "--state-dir", state],
                                  env=dict(os.environ, TARN_JOIN_TOKEN=f"{token['secret']}.{token['ca_fingerprint']}"),
                                  capture_output=True, text=True, timeout=60, **more)
            self.assertNotEqual(done.returncode, 0)
            self.assertNotIn("spent", done.stderr)
            self.refused(404, "not-found", "GET", "/servers/early")
            return done.stderr
        for state in ("file", "file/below", "taken"):
            self.assertIn("cannot write to " + os.path.join(folder, state), says(os.path.join(folder, state)))
        self.assertIn("absolute", says("relative", cwd=folder))
        self.assertEqual(os.listdir(os.path.join(folder, "taken")), ["agent.crt"])
        agent = self.join("early", token["secret"], token["ca_fingerprint"])
        self.assertEqual(sorted(os.listdir(agent.state)), ["agent.crt", "agent.json", "agent.key", "ca.crt"])

    def test_no_room(self):
        """A disk that is full is found before the token is used."""
        state = os.path.join(self.cluster.dir, "full")
        os.mkdir(state)
        if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", state], check=False).returncode:
            self.skipTest("needs root, for a small file system")
        token = self.api.post("/server-tokens", {"name": "full"})
        try:
            self.assertIn("No space left", self.join_fails("full", token))
            self.assertEqual(os.listdir(state), [])
        finally:
            subprocess.run(["umount", state], check=True)
        self.join("full", token["secret"], token["ca_fingerprint"])

    def test_what_fails_after_it_is_said(self):
        """A manager that takes the token, and then the identity cannot be saved, the answer is none, or there is no answer."""
        folder = os.path.join(self.cluster.dir, "late-identity")
        os.mkdir(folder)
        key, certificate, state = (os.path.join(folder, name) for name in ("key.pem", "ca.pem", "state"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-keyout", key, "-out", certificate, "-subj", "/CN=m", "-addext", "subjectAltName=IP:127.0.0.1"],
                       check=True, capture_output=True)
        case = ""

        class Manager(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                if case == "silent":
                    return
                if case == "in the way":
                    os.mkdir(os.path.join(state, "agent.crt"))
                body = json.dumps({} if case == "empty" else {"server": "0192f0c4-0000-7000-8000-000000000001",
                                                              "certificate": "CERTIFICATE"}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass
        context = rest.ssl.create_default_context(rest.ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        with http.server.HTTPServer(("127.0.0.1", 0), Manager) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                for case, words in (("in the way", "The token is spent"), ("empty", "The token is spent"), ("silent", "is not known")):
                    done = subprocess.run([cluster.AGENT, "join", "--manager", f"https://127.0.0.1:{server.server_port}", "--ca",
                                           certificate, "--name", "srv8", "--state-dir", state],
                                          env=dict(os.environ, TARN_JOIN_TOKEN="secret"), capture_output=True, text=True, timeout=60)
                    self.assertNotEqual(done.returncode, 0, case)
                    self.assertIn(words, done.stderr, case)
                    self.assertIn("tarn server delete srv8", done.stderr, case)
                    self.assertFalse({"agent.json", "agent.key.new", "agent.room"} & set(os.listdir(state)), case)
                    if case == "in the way":
                        os.rmdir(os.path.join(state, "agent.crt"))
            finally:
                server.shutdown()

    def test_twice(self):
        token = self.api.post("/server-tokens", {"name": "again", "uses": 3})
        agent = self.join("again", token["secret"], token["ca_fingerprint"])
        with self.assertRaises(AssertionError) as failed:
            agent.join(token["secret"], token["ca_fingerprint"])
        self.assertIn("has joined already", str(failed.exception))
        # From elsewhere, under the name of a server that is there.
        thief = cluster.Agent(self.cluster, "again")
        thief.state += "-elsewhere"
        with self.assertRaises(AssertionError) as failed:
            thief.join(token["secret"], token["ca_fingerprint"])
        self.assertIn("already", str(failed.exception))
        self.assertIn("--name", str(failed.exception))
        self.assertFalse(os.path.exists(os.path.join(thief.state, "agent.json")))

    def test_a_clock_that_is_wrong(self):
        token = self.api.post("/server-tokens", {"name": "clock"})
        for wrong, words in (("-3660", "61 min behind"), ("3660", "61 min ahead of")):
            said = self.join_fails("clock", token, {"TARN_TEST": "1", "TARN_TEST_CLOCK": wrong})
            self.assertIn(words, said)
            self.assertIn("ntp", said.lower())
            self.assertIn(words, self.cluster.manager.tail())
        # The token has not been used. A clock that goes wrong later is shown, and the log says it too.
        agent = self.join("clock", token["secret"], token["ca_fingerprint"])
        agent.start({"TARN_TEST": "1", "TARN_TEST_CLOCK": "-3660"})
        self.cluster.agents.append(agent)
        try:
            self.cluster.wait_online("clock")
            alarms = cluster.wait_until(lambda: self.api.list("/alarms", filter="code=server.clock"), 20, "the alarm")
            self.assertIn("61 min behind", alarms[0]["message"])
            cluster.wait_until(lambda: "61 min behind" in agent.tail(), 20, "the line in the agent's log")
        finally:
            agent.stop()
            self.cluster.agents.remove(agent)

    def test_removed(self):
        """Only an empty server that is offline; with force one that is gone, whose certificate is worth nothing then."""
        agent = self.cluster.add_agent("doomed")
        self.refused(409, "conflict", "DELETE", "/servers/doomed")
        self.refused(409, "conflict", "DELETE", "/servers/doomed?force=true")
        self.cluster.repository("doomed-repo", agent)
        self.api.do("/disks", {"name": "doomed-disk", "repository": "doomed-repo", "size": 1 << 20})
        agent.stop()
        cluster.wait_until(lambda: not self.cluster.online("doomed"), 30, "doomed offline")
        error = self.refused(409, "in-use", "DELETE", "/servers/doomed")
        self.assertIn("--force", error["message"])
        done = self.cluster.cli("server", "delete", "doomed", "--force")
        self.assertEqual(done.returncode, 0, done.stderr)
        for lost in ("doomed-repo", "doomed-disk"):
            self.assertIn(lost, done.stdout)
        for path in ("/servers/doomed", "/repositories/doomed-repo", "/disks/doomed-disk"):
            self.refused(404, "not-found", "GET", path)
        event = self.api.list("/events", filter="kind=server.forgotten")[0]
        self.assertIn("doomed-disk", event["message"])
        # It comes back: it is told, and stays away.
        agent.start()
        cluster.wait_until(lambda: "does not know this server" in agent.tail(), 30, "the refusal in the agent's log")
        self.assertIn("join it again", agent.tail())
        agent.stop()
        self.cluster.agents.remove(agent)
        fresh = self.cluster.add_agent("empty")
        fresh.stop()
        self.cluster.agents.remove(fresh)
        cluster.wait_until(lambda: not self.cluster.online("empty"), 30, "empty offline")
        self.assertEqual(self.api.delete("/servers/empty"), {"lost": [], "crashed": [], "warnings": []})

    def test_as_the_command_line_makes_it(self):
        for words in (["create"], ["create", "named"], ["named"]):
            done = self.cluster.cli("server", "token", *words, "-o", "json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["token"]["name"], words[-1] if words != ["create"] else "join")
        self.assertIn("TARN_JOIN_TOKEN", self.cluster.cli("server", "token", "create").stderr)
        self.assertNotEqual(self.cluster.cli("server", "token", "a", "b").returncode, 0)
        self.assertNotEqual(self.cluster.cli("server", "token").returncode, 0)
        said = subprocess.run([cluster.AGENT, "--help"], capture_output=True, text=True).stdout
        self.assertIn("TARN_JOIN_TOKEN", said)
        self.assertIn("--token-file", said)

    def test_an_api_token_does_not_join(self):
        token = self.api.post("/tokens", {"name": "api"})
        fingerprint = self.api.post("/server-tokens", {"name": "x"})["ca_fingerprint"]
        with self.assertRaises(AssertionError):
            self.join("api", token["secret"], fingerprint)

    def test_a_join_token_is_no_session(self):
        token = self.api.post("/server-tokens", {"name": "y"})
        self.assertEqual(self.api.copy(token["secret"]).raw("GET", "/vms").status, 401)

    def test_bad_requests_to_join(self):
        token = self.api.post("/server-tokens", {"name": "bad"})
        client = self.cluster.manager.client()
        for csr in ("", "nonsense", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"):
            answer = client.raw("POST", "/join", {"token": token["secret"], "csr": csr, "name": "bad"})
            self.assertEqual((answer.status, answer.json["code"]), (400, "invalid"), csr)
        answer = client.raw("POST", "/join", {"token": "no", "csr": self.request("z")[1], "name": "bad"})
        self.assertIn(answer.status, (401, 403))

    def test_versions(self):
        own = self.api.get("/about")["version"]
        major, minor = map(int, re.match(r"(\d+)\.(\d+)", own).groups())
        context = self.fake("versions")
        for version in (own, f"{major}.{minor + 1}"):
            with self.hello(context, version) as socket:
                self.assertEqual(json.loads(socket.receive())["event"], "welcome", version)
        for version, protocol in ((f"{major}.{minor + 2}", 1), (f"{major + 1}.{minor}", 1), (own, 99)):
            with self.subTest(version), self.hello(context, version, protocol) as socket:
                with self.assertRaises(ws.Closed) as closed:
                    socket.receive()
                self.assertEqual(closed.exception.code, 4001)
                self.assertIn("upgrade", closed.exception.reason.lower())

    def test_without_a_certificate(self):
        plain = rest.ssl.create_default_context(cafile=self.cluster.manager.ca)
        with self.assertRaises(ws.Refused) as refused:
            ws.WebSocket("127.0.0.1", self.cluster.manager.port, "/agent/v1", context=plain)
        self.assertEqual(refused.exception.status, 401)

    def test_frames_that_are_no_messages(self):
        context = self.fake("rude")
        for frame in ("not json", "[" * 20000, '{"event":"report","args":{}}', "7", '{"id":1,"ok":"maybe"}'):
            port = self.cluster.manager.port
            with self.subTest(frame[:20]), ws.WebSocket("127.0.0.1", port, "/agent/v1", context=context) as socket:
                socket.send(frame)
                with self.assertRaises(ws.Closed):
                    socket.receive()
        # After a good hello, nonsense is dropped or ends the connection; it never ends the manager.
        with self.hello(context, self.api.get("/about")["version"]) as socket:
            socket.receive()
            for frame in ('{"event":"report","args":{"guests":[{"vm":"../x","state":"running"}]}}', '{"event":"none"}',
                          '{"id":"a/b/c","ok":true}', '{"event":"guest.state","args":{"vm":7}}', '{"event":"stats","args":[]}'):
                socket.send(frame)
        self.assertEqual(self.api.get("/servers/rude")["name"], "rude")

    def test_a_second_connection_replaces_the_first(self):
        context = self.fake("twin")
        version = self.api.get("/about")["version"]
        with self.hello(context, version) as first:
            first.receive()
            with self.hello(context, version) as second:
                self.assertEqual(json.loads(second.receive())["event"], "welcome")
                with self.assertRaises(ws.Closed) as closed:
                    while True:
                        first.receive()
                self.assertEqual(closed.exception.code, 4003)
