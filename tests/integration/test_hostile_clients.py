# SPDX-License-Identifier: Apache-2.0
"""What clients of ill will try: to keep others from signing in, to sign somebody in as somebody else, to make much work."""

import http.client
import json
import socket
import threading
import time

import cluster
import ws


class HostileClients(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def stranger(self):
        client = self.cluster.manager.client()
        self.addCleanup(client.close)
        return client

    def sign_in_from(self, address, name, password):
        """The status, of a client with that address."""
        manager = self.cluster.manager
        connection = http.client.HTTPSConnection(manager.host, manager.port, timeout=60, context=self.api.context,
                                                 source_address=(address, 0))
        connection.request("POST", "/api/v1/sessions", json.dumps({"name": name, "password": password}))
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    # ---- signing in ----

    def test_a_page_of_another_site_signs_nobody_in(self):
        """A form of another site can send JSON as text/plain: its visitor would work as somebody of its choice."""
        manager = self.cluster.manager
        body = json.dumps({"name": "admin", "password": manager.password()})
        for origin in ("https://evil.example", "null", manager.url.replace("https", "http"), manager.url + "0"):
            answer = self.stranger().raw("POST", "/sessions", body, {"Origin": origin, "Content-Type": "text/plain"})
            self.assertEqual((answer.status, answer.json["code"]), (403, "forbidden"), origin)
            self.assertNotIn("set-cookie", answer.headers)
        answer = self.stranger().raw("POST", "/sessions", body, {"Origin": manager.url})
        self.assertEqual(answer.status, 201)
        # The prefix keeps a neighbour in the same domain from setting it.
        self.assertTrue(answer.headers["set-cookie"].startswith("__Host-"), answer.headers["set-cookie"])

    def test_who_guesses_names_keeps_nobody_else_out(self):
        self.api.post("/users", {"name": "honest", "password": "longenough"})
        self.addCleanup(self.api.delete, "/users/honest")
        before = len(self.api.list("/events", filter="kind=session.refused"))
        statuses, began = [], time.monotonic()

        def guess(number):
            for attempt in range(20):
                statuses.append(self.sign_in_from("127.0.0.7", f"invented{number}-{attempt}", "wrong password"))
        threads = [threading.Thread(target=guess, args=(number,)) for number in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(300)
        self.assertEqual(statuses.count(401) + statuses.count(429), 160, statuses)
        # Sixty at once, and twelve more in each minute that this takes.
        self.assertLessEqual(statuses.count(401), 61 + (time.monotonic() - began) / 5)
        refused = len(self.api.list("/events", filter="kind=session.refused")) - before
        self.assertLessEqual(refused, statuses.count(401))
        self.assertEqual(self.sign_in_from("127.0.0.8", "honest", "longenough"), 201)

    # ---- answers ----

    def resident(self):
        with open(f"/proc/{self.cluster.manager.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:")) >> 10

    def ask_and_not_read(self, path, token):
        """A connection on which a request has been sent; its answer stays in the manager."""
        manager = self.cluster.manager
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect((manager.host, manager.port))
        s = self.api.context.wrap_socket(s, server_hostname=manager.host)
        self.addCleanup(s.close)
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: {manager.host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        return s

    def test_who_reads_no_answers_is_given_no_more(self):
        """Each is kept until it is read: a viewer with two thousand connections would have had ten gigabytes."""
        self.api.post("/users", {"name": "greedy", "password": "longenough", "role": "viewer"})
        self.addCleanup(self.api.delete, "/users/greedy")
        greedy = self.stranger().sign_in("greedy", "longenough")
        for number in range(400):
            self.api.post("/pools", {"name": f"big{number}", "description": "x" * 4000})
            self.addCleanup(self.api.delete, f"/pools/big{number}")
        path = "/api/v1/pools?limit=1000"
        page = len(greedy.raw("GET", "/pools?limit=1000").data)
        self.assertGreater(page, 400 * 4000)
        most = (128 << 20) // page
        before = self.resident()
        unread = [self.ask_and_not_read(path, greedy.token) for _ in range(most + 20)]
        cluster.wait_until(lambda: greedy.raw("GET", "/pools?limit=1000").status == 429, 60, "a refusal")
        self.assertEqual(greedy.raw("GET", "/pools?limit=1").status, 200)
        self.assertEqual(self.api.raw("GET", "/pools?limit=1000").status, 200)
        self.assertLess(self.resident() - before, 400)
        for s in unread:
            s.close()
        cluster.wait_until(lambda: greedy.raw("GET", "/pools?limit=1000").status == 200, 60, "an answer again")

    # ---- what one has found ----

    def test_a_token_found_is_no_key_for_ever(self):
        self.api.post("/users", {"name": "owner", "password": "longenough", "role": "viewer"})
        self.addCleanup(self.api.delete, "/users/owner")
        session = self.stranger().sign_in("owner", "longenough")
        short = session.post("/tokens", {"name": "short", "lifetime": 600})
        found = session.copy(short["secret"])
        self.addCleanup(found.close)
        for more in ({}, {"lifetime": 315360000}):
            made = found.post("/tokens", {"name": f"more-{len(more)}", **more})["token"]
            self.assertLessEqual(made["expires"], short["token"]["expires"])
        self.assertLessEqual(found.post("/tokens", {"name": "less", "lifetime": 5})["token"]["expires"], made["expires"])
        for name in ("owner", self.api.get("/users/owner")["id"]):
            answer = found.raw("PATCH", "/users/" + name, {"password": "another one"})
            self.assertEqual((answer.status, answer.json["code"]), (403, "forbidden"))
        self.assertEqual(found.raw("PATCH", "/users/owner", {"full_name": "Found"}).status, 200)
        self.assertEqual(session.raw("PATCH", "/users/owner", {"password": "another one"}).status, 200)

    def test_changes_of_passwords_that_are_refused_anyway(self):
        """Each takes as long as a sign-in, and the same few threads."""
        self.api.post("/users", {"name": "busy", "password": "longenough", "role": "viewer"})
        self.addCleanup(self.api.delete, "/users/busy")
        busy, began = self.stranger().sign_in("busy", "longenough"), time.monotonic()
        statuses = [busy.raw("PATCH", "/users/busy", {"password": "another one", "role": "administrator"}).status for _ in range(40)]
        self.assertEqual(set(statuses), {403, 429})
        self.assertLessEqual(statuses.count(403), 11 + (time.monotonic() - began) / 6)

    def test_nobody_is_called_as_tarn_itself_in_the_log(self):
        for name in ("tarn", "Tarn"):
            self.assertEqual(self.refused(400, "invalid", "POST", "/users", {"name": name, "password": "longenough"})["field"], "name")

    def test_streams_of_one_user(self):
        self.api.post("/users", {"name": "watcher", "password": "longenough", "role": "viewer"})
        self.addCleanup(self.api.delete, "/users/watcher")
        watcher = self.stranger().sign_in("watcher", "longenough")
        streams = [watcher.socket("/stream") for _ in range(100)]
        with self.assertRaises(ws.Refused) as refused:
            watcher.socket("/stream")
        self.assertEqual(refused.exception.status, 429)
        self.api.socket("/stream").close()  # others are not concerned
        streams.pop().close()

        def again():
            try:
                return watcher.socket("/stream")
            except ws.Refused:
                return None
        streams.append(cluster.wait_until(again, 10, "room for one more"))
        for stream in streams:
            stream.close()

    # ---- queries ----

    def test_a_field_named_ten_thousand_times(self):
        self.refused(400, "invalid", "GET", "/events?fields=" + ",".join(["id"] * 5000))
        self.assertEqual(list(self.api.get("/events", fields="id,time", limit=1)["items"][0]), ["id", "time"])

    def test_a_query_that_is_no_text_is_refused_and_not_left_out(self):
        for query in ("filter=%ff", "filter=name%3d%c3", "sort=%80", "after=%fe", "%ff=1", "limit=%ff"):
            self.refused(400, "invalid", "GET", "/users?" + query)
        self.assertEqual(self.api.get("/users", filter="name=é")["items"], [])

    def test_numbers_of_any_length_in_filters(self):
        for number in ("9" * 5000, "-" + "9" * 5000, "0." + "0" * 5000 + "1", "nan", "inf", "0x10", "1e999999"):
            self.assertEqual(self.api.raw("GET", f"/pools?filter=cpu_overcommit<{number}").status, 200, number[:20])
