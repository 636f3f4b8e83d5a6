# SPDX-License-Identifier: Apache-2.0
"""Servers that join: tokens once, fingerprints checked, versions one minor apart, certificates known."""

import json
import os
import re
import subprocess

import cluster
import rest
import ws


class Join(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def join(self, name, secret, fingerprint):
        agent = cluster.Agent(self.cluster, name)
        agent.join(secret, fingerprint)
        return agent

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
