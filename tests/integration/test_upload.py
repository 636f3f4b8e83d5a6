# SPDX-License-Identifier: Apache-2.0
"""Uploads that break off, lie, come in pieces or from somebody else."""

import os
import socket

import cluster
import rest


class Uploads(cluster.ClusterCase):
    TEMPLATE = False

    def put(self, key, data, offset=0, client=None):
        return (client or self.api).raw("PUT", f"/uploads/{key}/data?offset={offset}", data,
                                        {"Content-Type": "application/octet-stream"})

    def tearDown(self):
        for upload in self.api.list("/uploads"):
            self.api.remove("/uploads/" + upload["id"])
        self.assertEqual(os.listdir(os.path.join(self.cluster.agent.repository, "uploads")), [])

    def stored(self, key):
        with open(os.path.join(self.cluster.agent.repository, "uploads", key), "rb") as f:
            return f.read()

    def test_in_pieces(self):
        data = os.urandom(5 << 20)
        key = self.api.upload("pieces", data, piece=(1 << 20) + 17)
        upload = self.api.get("/uploads/" + key)
        self.assertEqual((upload["state"], upload["received"]), ("complete", len(data)))
        self.assertEqual(self.stored(key)[:len(data)], data)

    def broken(self, key, size, sent):
        raw = socket.create_connection(("127.0.0.1", self.cluster.manager.port), 10)
        s = self.api.context.wrap_socket(raw, server_hostname="127.0.0.1")
        s.sendall(f"PUT /api/v1/uploads/{key}/data?offset=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.api.token}\r\n"
                  f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n".encode() + sent)
        return s

    def test_broken_off_and_resumed(self):
        data = os.urandom(3 << 20)
        key = self.api.post("/uploads", {"name": "broken", "size": len(data)})["id"]
        s = self.broken(key, len(data), data[:1 << 20])
        cluster.time.sleep(1)
        s.close()

        def received():
            try:
                return self.api.get("/uploads/" + key)["received"]
            except rest.ApiError:
                return 0
        cluster.wait_until(received, 10, "what had arrived")
        at = received()
        self.assertLessEqual(at, 1 << 20)
        cluster.wait_until(lambda: self.put(key, data[at:], at).status == 200, 10, "the rest")
        self.assertEqual(self.api.get("/uploads/" + key)["state"], "complete")
        self.assertEqual(self.stored(key), data)

    def test_it_lies_about_its_length(self):
        key = self.api.post("/uploads", {"name": "liar", "size": 1000})["id"]
        answer = self.put(key, b"x" * 2000)
        self.assertIn(answer.status, (400, 413), answer.data)
        self.assertLessEqual(self.api.get("/uploads/" + key)["received"], 1000)
        self.assertIn(self.put(key, b"x" * 10, 995).status, (400, 413))
        self.assertIn(self.put(key, b"x", 1 << 60).status, (400, 413))
        self.assertEqual(self.put(key, b"x" * 10, 500).status, 400, "a hole is refused")
        self.refused(400, "invalid", "PUT", f"/uploads/{key}/data?offset=-1", b"x")

    def test_received_never_goes_down(self):
        key = self.api.post("/uploads", {"name": "back", "size": 1000})["id"]
        self.assertEqual(self.put(key, b"0123456789").status, 200)
        self.assertEqual(self.put(key, b"abcde", 1).json["received"], 10)
        self.assertEqual(self.api.get("/uploads/" + key)["received"], 10)
        self.assertEqual(self.stored(key), b"0abcde6789")

    def test_only_one_writes(self):
        key = self.api.post("/uploads", {"name": "two", "size": 4096})["id"]
        first = self.broken(key, 4096, b"x" * 100)
        cluster.time.sleep(0.5)  # nothing shows from outside that the agent has it: it must not come second
        for _ in range(8):
            answer = self.put(key, b"y" * 10)
            self.assertEqual((answer.status, answer.json["code"]), (409, "conflict"), answer.data)
        first.sendall(b"x" * 3996)
        self.assertIn(b" 200 ", first.recv(65536).split(b"\r\n")[0])
        first.close()

    def test_one_user_leaves_room_for_others(self):
        """An agent takes few files and consoles at once: those that are begun and never go on must not be all of them."""
        def one_more():
            return self.put(self.api.post("/uploads", {"name": "more", "size": 4096})["id"], b"x" * 4096)
        keys = [self.api.post("/uploads", {"name": f"slow{n}", "size": 4096})["id"] for n in range(16)]
        begun = [self.broken(key, 4096, b"x" * 10) for key in keys]
        cluster.wait_until(lambda: one_more().status == 429, 20, "all that were begun there, and no room")
        self.assertEqual(one_more().json["code"], "rate-limited")
        self.api.post("/users", {"name": "second", "password": "longenough", "role": "operator"})
        self.addCleanup(self.api.delete, "/users/second")
        second = self.cluster.manager.client().sign_in("second", "longenough")
        other = second.post("/uploads", {"name": "quick", "size": 10})["id"]
        self.assertEqual(self.put(other, b"0123456789", client=second).status, 200)
        for connection in begun:
            connection.close()
        cluster.wait_until(lambda: one_more().status == 200, 20, "room for one more")

    def test_a_whole_one_is_not_written_again(self):
        key = self.api.upload("whole", b"just text\n" * 1000)
        answer = self.put(key, b"x" * 10000)
        self.assertEqual((answer.status, answer.json["code"]), (409, "conflict"))
        self.assertEqual(self.stored(key), b"just text\n" * 1000)

    def test_incomplete_cannot_be_imported(self):
        key = self.api.post("/uploads", {"name": "half", "size": 4096})["id"]
        self.put(key, b"x" * 1024)
        error = self.refused(409, "conflict", "POST", "/templates", {"name": "half", "image": {"upload": key}})
        self.assertIn("complete", error["message"])

    def test_a_file_that_is_no_image(self):
        key = self.api.upload("text", b"just text\n" * 1000)
        with self.assertRaises((rest.JobFailed, rest.ApiError)) as failed:
            self.api.do("/templates", {"name": "text", "image": {"upload": key}})
        self.assertEqual(failed.exception.code, "bad-image")

    def test_only_its_owner_fills_it(self):
        self.api.post("/users", {"name": "other", "password": "longenough", "role": "operator"})
        other = self.cluster.manager.client().sign_in("other", "longenough")
        key = self.api.post("/uploads", {"name": "mine", "size": 10})["id"]
        self.assertEqual(self.put(key, b"0123456789", client=other).status, 403)
        self.api.delete("/users/other")

    def test_sizes(self):
        for size in (0, -1, 1 << 62, "10"):
            self.refused(400, "invalid", "POST", "/uploads", {"name": "size", "size": size})

    def test_an_agent_that_is_away(self):
        key = self.api.post("/uploads", {"name": "away", "size": 1 << 20})["id"]
        self.put(key, b"x" * 4096)
        self.cluster.agent.kill()
        cluster.wait_until(lambda: not self.cluster.online(self.cluster.agent.name), 20, "offline")
        answer = self.put(key, b"x" * 4096, 4096)
        self.assertEqual((answer.status, answer.json["code"]), (503, "unavailable"))
        self.cluster.agent.start()
        self.cluster.wait_online(self.cluster.agent.name)
        self.assertEqual(self.put(key, b"x" * 4096, 4096).status, 200)
