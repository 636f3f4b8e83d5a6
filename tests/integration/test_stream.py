# SPDX-License-Identifier: Apache-2.0
"""The stream of changes: complete, in order, resumed from a revision, honest when it cannot be."""

import json
import time

import cluster
import rest


class Stream(cluster.ClusterCase):
    def messages(self, socket, until, timeout=20):
        """Messages up to and with the first that `until` holds for."""
        seen = []
        deadline = time.monotonic() + timeout
        while True:
            message = json.loads(socket.receive(deadline - time.monotonic()))
            seen.append(message)
            if until(message):
                return seen

    def open(self, since=None, kinds=None, client=None):
        query = [f"since={since}"] if since is not None else []
        query += [f"kinds={kinds}"] if kinds else []
        return (client or self.api).socket("/stream" + ("?" + "&".join(query) if query else ""))

    @staticmethod
    def named(kind, name, type="put"):
        return lambda m: m["type"] == type and m["kind"] == kind and m.get("object", {}).get("name") == name

    def test_changes_arrive_in_order(self):
        with self.open() as socket:
            self.api.post("/users", {"name": "streamed", "password": "longenough"})
            self.api.patch("/users/streamed", {"full_name": "changed"})
            key = self.api.get("/users/streamed")["id"]
            self.api.delete("/users/streamed")
            seen = self.messages(socket, lambda m: m["type"] == "delete" and m["kind"] == "user" and m["id"] == key)
            mine = [m for m in seen if m.get("id") == key]
            self.assertEqual([m["type"] for m in mine], ["put", "put", "delete"])
            self.assertEqual(mine[1]["object"]["full_name"], "changed")
            revisions = [m["revision"] for m in seen if m["type"] in ("put", "delete")]
            self.assertEqual(revisions, sorted(revisions))
            self.assertNotIn("password_hash", json.dumps(seen))

    def test_a_change_of_role_changes_what_is_seen(self):
        self.api.post("/users", {"name": "moved", "password": "longenough", "role": "administrator"})
        with self.open(client=self.api.copy().sign_in("moved", "longenough")) as socket:
            made = [self.api.post("/tokens", {"name": "seen"})["token"]["id"]]
            self.messages(socket, self.named("token", "seen"))
            self.api.patch("/users/moved", {"role": "viewer"})
            made.append(self.api.post("/tokens", {"name": "unseen"})["token"]["id"])
            self.api.post("/users", {"name": "public", "password": "longenough"})
            seen = self.messages(socket, self.named("user", "public"))
            self.assertEqual([m for m in seen if m.get("kind") == "token"], [])
            self.api.patch("/users/moved", {"role": "administrator"})
            self.messages(socket, lambda m: m["type"] == "resync")  # there is more to list now
            for key in made:
                self.api.delete("/tokens/" + key)
            self.messages(socket, lambda m: m["type"] == "delete" and m["kind"] == "token" and m["id"] == made[1])
        for name in ("public", "moved"):
            self.api.delete("/users/" + name)

    def test_resume_misses_nothing_and_repeats_nothing(self):
        with self.open(kinds="user") as socket:
            self.api.post("/users", {"name": "first", "password": "longenough"})
            last = self.messages(socket, self.named("user", "first"))[-1]
        for name in ("second", "third"):
            self.api.post("/users", {"name": name, "password": "longenough"})
        with self.open(since=last["revision"], kinds="user") as socket:
            seen = self.messages(socket, self.named("user", "third"))
            self.assertEqual([m["object"]["name"] for m in seen if m["type"] == "put"], ["second", "third"])
        for name in ("first", "second", "third"):
            self.api.delete("/users/" + name)

    def test_a_revision_that_is_gone_or_yet_to_come(self):
        self.cluster.restart_manager()  # what happened before is not kept in memory
        for since in (1, 1 << 50):
            with self.open(since=since) as socket:
                self.assertEqual(json.loads(socket.receive())["type"], "resync")

    def test_resume_after_the_manager_was_restarted(self):
        revision = self.api.get("/about")["revision"]
        self.cluster.restart_manager()
        with self.open(since=revision) as socket:
            self.api.post("/users", {"name": "after", "password": "longenough"})
            seen = self.messages(socket, lambda m: m["type"] == "resync" or self.named("user", "after")(m))
            self.assertIn(seen[-1]["type"], ("put", "resync"))
        self.api.delete("/users/after")

    def test_progress_of_a_job(self):
        with self.open(kinds="job,vm") as socket:
            job = self.api.post("/vms", {"name": "watched", "template": "tiny"})
            seen = self.messages(socket, lambda m: m.get("id") == job["id"] and m["type"] == "put"
                                 and m["object"]["state"] in rest.ENDED)
            self.assertEqual(seen[-1]["object"]["state"], "done")
            self.assertEqual({m["kind"] for m in seen if m["type"] in ("put", "delete")}, {"job", "vm"})
        self.api.remove("/vms/watched")

    def test_secrets_of_others_are_not_streamed(self):
        self.api.post("/users", {"name": "looker", "password": "longenough", "role": "viewer"})
        looker = self.cluster.manager.client().sign_in("looker", "longenough")
        with self.open(client=looker) as socket:
            made = self.api.post("/tokens", {"name": "hidden"})
            self.api.post("/users", {"name": "marker", "password": "longenough"})
            seen = self.messages(socket, self.named("user", "marker"))
            self.assertNotIn("token", [m.get("kind") for m in seen])
            self.assertNotIn(made["secret"], json.dumps(seen))
            self.assertNotIn("hash", json.dumps(seen))
        self.api.delete("/users/marker")
        self.api.delete("/users/looker")
        self.api.delete("/tokens/" + made["token"]["id"])

    def test_a_client_that_does_not_read_holds_nobody_up(self):
        lazy = self.api.socket("/stream", receive_buffer=4096)
        fast = self.open(kinds="user")
        deletes = 0
        for number in range(150):
            self.api.post("/users", {"name": "flood", "password": "longenough", "full_name": "x" * 200})
            self.api.delete("/users/flood")
            if number % 50 == 0:
                self.assertLess(self.elapsed(lambda: self.api.get("/about")), 2)
            while deletes < number:
                deletes += json.loads(fast.receive(20))["type"] == "delete"
        while deletes < 150:
            deletes += json.loads(fast.receive(20))["type"] == "delete"
        fast.close()
        lazy.close()

    @staticmethod
    def elapsed(work):
        began = time.monotonic()
        work()
        return time.monotonic() - began

    def test_wrong_queries(self):
        for query in ("since=abc", "since=-1", "kinds=nonsense"):
            with self.assertRaises(rest.ws.Refused) as refused:
                self.api.socket("/stream?" + query)
            self.assertEqual(refused.exception.status, 400)

    def test_a_session_that_ends_closes_its_stream(self):
        session = self.cluster.manager.client().sign_in("admin", self.cluster.manager.password())
        with self.open(client=session) as socket:
            session.delete("/sessions/current")
            with self.assertRaises(rest.ws.Closed):
                for _ in range(100):
                    socket.receive(20)
