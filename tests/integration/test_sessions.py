# SPDX-License-Identifier: Apache-2.0
"""Sessions as a browser has them, and the log of who did what from where."""

import time

import cluster
import rest
import ws


class Browser:
    """A session by cookie, as the console has one."""

    def __init__(self, case, name="admin", password=None):
        self.case, manager = case, case.cluster.manager
        self.client = manager.client()
        answer = self.client.raw("POST", "/sessions", {"name": name, "password": password or manager.password()})
        case.assertEqual(answer.status, 201, answer.data)
        self.header = answer.headers["set-cookie"]
        self.cookie = self.header.split(";")[0]
        self.csrf, self.token = answer.json["csrf"], answer.json["token_id"]
        self.origin = manager.url

    def raw(self, method, path, body=None, **headers):
        return self.client.raw(method, path, body, {"Cookie": self.cookie, **{k.replace("_", "-"): v for k, v in headers.items()}})

    def change(self, method, path, body=None):
        return self.raw(method, path, body, X_Tarn_CSRF=self.csrf, Origin=self.origin)

    def socket(self, path, origin=None):
        headers = {"Cookie": self.cookie, "Origin": origin or self.origin}
        return ws.WebSocket("127.0.0.1", self.case.cluster.manager.port, "/api/v1" + path, headers, self.client.context)


class Sessions(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def test_the_cookie(self):
        header = Browser(self).header
        for part in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/"):
            self.assertIn(part, header.split("; "), header)
        self.assertNotIn("Domain", header)

    def test_every_change_wants_the_header(self):
        """Of every operation that is no question, whatever stands in its path and body."""
        document = self.api.get("/openapi.json")
        browser, tried = Browser(self), 0
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if method == "get" or operation.get("security") == []:
                    continue
                tried += 1
                for pair in ("{vm}", "{server}", "{user}", "{token}", "{job}", "{disk}", "{pool}"):
                    path = path.replace(pair, "x")
                answer = browser.raw(method.upper(), path, {} if "requestBody" in operation else None)
                self.assertEqual((answer.status, answer.json["code"]), (403, "forbidden"), operation["operationId"])
                self.assertIn("X-Tarn-CSRF", answer.json["message"])
        self.assertGreater(tried, 25)
        other = Browser(self)  # another session's word is no good
        self.assertEqual(browser.raw("PATCH", "/users/admin", {"full_name": "x"}, X_Tarn_CSRF=other.csrf).status, 403)
        self.assertEqual(browser.change("PATCH", "/users/admin", {"full_name": "Root"}).status, 200)

    def test_a_session_ends_with_its_sockets(self):
        leaving, staying = Browser(self), Browser(self)
        mine, others = leaving.socket("/stream"), staying.socket("/stream")
        self.assertEqual(leaving.change("DELETE", "/sessions/current").status, 204)
        with self.assertRaises(ws.Closed) as closed:
            while True:
                mine.receive(10)
        self.assertEqual(closed.exception.code, 4401)
        self.assertEqual(leaving.raw("GET", "/sessions/current").status, 401)
        with self.assertRaises(ws.Refused) as refused:
            leaving.socket("/stream")
        self.assertEqual(refused.exception.status, 401)
        self.assertEqual(staying.raw("GET", "/sessions/current").status, 200)
        others.send("still here", ws.PING)
        others.close()

    def test_ones_own_sessions(self):
        self.api.post("/users", {"name": "ann", "password": "longenough", "role": "operator"})
        desk, phone, admin = Browser(self, "ann", "longenough"), Browser(self, "ann", "longenough"), Browser(self)
        mine = desk.raw("GET", "/tokens?filter=kind=session").json["items"]
        self.assertEqual({t["id"] for t in mine}, {desk.token, phone.token})
        self.assertEqual({t["address"] for t in mine}, {"127.0.0.1"})
        self.assertEqual(desk.change("DELETE", "/tokens/" + admin.token).status, 404, "not another's")
        stream = phone.socket("/stream")
        self.assertEqual(desk.change("DELETE", "/tokens/" + phone.token).status, 204)
        with self.assertRaises(ws.Closed):
            while True:
                stream.receive(10)
        self.assertEqual(phone.raw("GET", "/sessions/current").status, 401)
        self.assertEqual(desk.raw("GET", "/sessions/current").status, 200)
        # A new password ends the others', a deleted user everything.
        self.assertEqual(admin.change("PATCH", "/users/ann", {"password": "longer still"}).status, 200)
        self.assertEqual(desk.raw("GET", "/sessions/current").status, 401)
        again = Browser(self, "ann", "longer still")
        stream = again.socket("/stream")
        self.assertEqual(admin.change("DELETE", "/users/ann").status, 204)
        with self.assertRaises(ws.Closed):
            while True:
                stream.receive(10)


class ConsoleSocket(cluster.ClusterCase):
    def test_origin_and_end(self):
        self.cluster.vm("seen")
        browser = Browser(self)
        path = "/vms/seen/console?type=serial"
        for origin in ("https://evil.example", "null"):
            for target in (path, "/stream"):
                with self.assertRaises(ws.Refused) as refused:
                    browser.socket(target, origin)
                self.assertEqual(refused.exception.status, 403)
        console = browser.socket(path)
        event = cluster.wait_until(lambda: self.api.get("/events", filter="kind=vm.console")["items"], 10, "the event")[0]
        self.assertEqual((event["actor"], event["object"]["name"], event["address"]), ("admin", "seen", "127.0.0.1"))
        self.assertEqual(browser.change("DELETE", "/sessions/current").status, 204)
        with self.assertRaises(ws.Closed) as closed:
            while True:
                console.receive(15)
        self.assertEqual(closed.exception.code, 4401)


class Audit(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def events(self, filter):
        return self.api.list("/events", filter=filter, limit=500)

    def test_who_did_what_from_where(self):
        manager = self.cluster.manager
        self.api.post("/users", {"name": "mallory", "password": "longenough", "role": "viewer"})
        with self.assertRaises(rest.ApiError):
            manager.client().sign_in("mallory", "not the word")
        with self.assertRaises(rest.ApiError):
            manager.client().sign_in("hunter2-typed-as-name", "x")
        mallory = manager.client().sign_in("mallory", "longenough")
        token = mallory.post("/tokens", {"name": "robot"})
        mallory.delete("/tokens/" + token["token"]["id"])
        mallory.delete("/sessions/current")
        self.api.patch("/users/mallory", {"role": "operator"})
        self.api.delete("/users/mallory")
        mine = [e["kind"] for e in self.events("actor=mallory")]
        self.assertEqual(mine, ["session.deleted", "token.deleted", "token.created", "session.created"])
        about = self.events("object.name=mallory")
        self.assertEqual([e["kind"] for e in about], ["user.deleted", "user.changed", "session.refused", "user.created"])
        self.assertIn("operator, was viewer", about[1]["message"])
        self.assertEqual({e["address"] for e in about + self.events("actor=mallory")}, {"127.0.0.1"})
        refused = self.events("kind=session.refused,severity=warning")
        self.assertEqual(len(refused), 2)
        self.assertNotIn("hunter2", str(refused), "what may be a password typed in the wrong field")

    def test_time_and_history(self):
        """More events than the manager keeps in memory: filters go on in the store."""
        self.api.post("/users", {"name": "early", "password": "longenough"})
        first = self.events("object.name=early")[0]["time"]
        time.sleep(1.1)
        for number in range(2700):
            self.api.patch("/users/admin", {"full_name": f"Number {number}"})
        time.sleep(0.05)
        self.api.post("/users", {"name": "late", "password": "longenough"})
        last = self.events("object.name=late")[0]["time"]
        self.assertEqual(len(self.events("object.name=early")), 1)
        self.assertEqual(len(self.events("kind=user.changed")), 2700)
        page = self.api.get("/events", filter="kind=user.changed", limit=10)
        again = self.api.get("/events", filter="kind=user.changed", limit=10, after=page["next"])
        self.assertEqual(len({e["id"] for e in page["items"] + again["items"]}), 20)
        self.assertEqual(len(self.events(f"time>{first},time<{last}")), 2700)
        self.assertEqual(len(self.events(f"time>={first},time<={last},kind=user.created")), 2)
        self.assertEqual(len(self.events(f"time>{last}")), 0)
        second = first[:19] + "Z"  # whole seconds are compared as times too
        self.assertIn("early", [e["object"]["name"] for e in self.events(f"time>={second},kind=user.created")])
        done = self.cluster.cli("event", "list", "--filter", f"time<{last},object.name=early", "-o", "json")
        self.assertIn("early", done.stdout, done.stderr)
        self.refused(400, "invalid", "GET", "/events?filter=time!2026")
