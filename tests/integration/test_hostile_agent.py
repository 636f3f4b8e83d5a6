# SPDX-License-Identifier: Apache-2.0
"""A server that was taken over says what it likes over its own connection: it harms neither the manager nor other servers."""

import time

import cluster
import impostor

GREATEST = (1 << 63) - 1


class HostileAgent(cluster.ClusterCase):
    """server1 is honest and has a virtual machine; the others are not."""

    @classmethod
    def prepare(cls):
        cls.vm = cls.cluster.vm("victim", start=False)
        cls.good = cls.api.get("/servers/server1")["id"]
        cls.bad = impostor.Impostor(cls.cluster, "bad")
        cls.worse = impostor.Impostor(cls.cluster, "worse").connect()
        cls.addClassCleanup(cls.bad.close)
        cls.addClassCleanup(cls.worse.close)

    def setUp(self):
        if self.bad.ended or not self.bad.socket:
            self.bad.connect()

    def tearDown(self):
        self.assertEqual(self.api.get("/servers/server1")["state"], "online")
        self.assertEqual(self.cluster.vm_state("victim"), "stopped")
        self.assertEqual(self.api.get("/vms/victim")["server"], self.vm["server"])

    def settled(self):
        """What was said so far has been heard: it is answered in order."""
        self.bad.event("hello", self.bad.hello(kernel=f"k{time.monotonic()}"))
        kernel = self.bad.hello()["server"]
        cluster.wait_until(lambda: self.api.get("/servers/bad")["hardware"]["kernel"] != kernel, 20, "it was heard")
        time.sleep(0.2)

    def test_hardware_beyond_reason(self):
        self.bad.event("hello", self.bad.hello(cpu_model="\x1b[31mX" * 1000, cpus=GREATEST, memory=-5, kernel="odd",
                                               nics=[{"name": "a\x00b".replace("\x00", "\x07"), "speed": GREATEST}]))
        got = cluster.wait_until(lambda: (h := self.api.get("/servers/bad")["hardware"])["kernel"] == "odd" and h, 20, "hello")
        self.assertLessEqual(len(got["cpu_model"]), 4096)
        self.assertNotIn("\x1b", got["cpu_model"])
        self.assertEqual((got["cpus"], got["memory"], got["nics"][0]["name"]), (1 << 20, 0, "a?b"))
        self.assertEqual(self.api.raw("GET", "/summary").status, 200)

    def test_a_hello_of_megabytes(self):
        self.bad.event("hello", self.bad.hello(nics=[{"name": f"e{i}"} for i in range(60000)]))
        cluster.wait_until(lambda: self.bad.ended, 20, "the end of the connection")
        self.assertEqual(self.bad.ended.code, 4004)
        self.assertFalse(self.api.get("/servers/bad")["hardware"].get("nics"))

    def test_thousands_of_guests_that_nobody_knows(self):
        self.bad.event("report", {"guests": [{"vm": "x" * 300, "name": "\x1b]0;x\x07" * 100, "state": "running"}] * 1000,
                                  "done": ["not an id"] * 500, "active": ["7"] * 500})
        shown = cluster.wait_until(lambda: self.api.get("/servers/bad")["unknown_guests"], 20, "unknown guests")
        self.assertEqual(len(shown), 100)
        self.assertLess(max(map(len, shown)), 400)
        self.bad.event("report", {})

    def test_what_belongs_to_others(self):
        vm = self.vm["id"]
        for state in ("running", "crashed", "deleting", "unknown"):
            self.bad.event("guest.state", {"vm": vm, "state": state, "lost": True, "sequence": GREATEST, "started": "9999-01-01T00:00:00Z"})
        self.bad.event("report", {"guests": [{"vm": vm, "name": "victim", "state": "running", "guarded": True, "lost": True}]})
        self.bad.event("repository.state", {"repository": self.api.get("/repositories/local")["id"], "usable": False, "capacity": GREATEST})
        self.bad.event("stats", {"server": {"server": self.good, "cpu": 1e308, "memory_used": GREATEST, "memory_total": GREATEST},
                                 "vms": [{"vm": vm, "cpu": -1e308, "memory": GREATEST}] * 3})
        self.bad.event("upload.received", {"upload": vm, "received": GREATEST})
        self.settled()
        self.assertEqual(self.api.get("/repositories/local")["state"], "ready")
        self.assertEqual(self.api.raw("GET", "/vms/victim/stats").status, 404)
        self.assertEqual(self.api.raw("GET", "/summary").status, 200)
        self.assertEqual(self.api.raw("GET", "//metrics").status, 200)
        # It is told to forget what is not its own, and nobody else is told anything.
        self.assertEqual(self.bad.next("guest.kill")["args"]["vm"], vm)

    def test_that_another_server_is_gone(self):
        state = {"pool": self.good, "quorate": True, "armed": True, "members": [self.good, "x"], "incarnation": GREATEST,
                 "left": [{"server": self.good, "gone_ms": GREATEST}, {"server": self.good, "gone_ms": -GREATEST}]}
        for event in ({"event": "cluster.state", "args": state}, {"event": "report", "args": {"cluster": state}},
                      {"id": f"check/0/{self.good}", "ok": True, "result": state},
                      {"id": f"check/1/{self.good}", "ok": True, "result": state},
                      {"id": f"check/99999999999999999999/{self.bad.id}", "ok": True, "result": state}):
            self.bad.say(event)
        self.settled()
        self.assertFalse(self.api.get("/servers/server1").get("cluster", {}).get("gone"))

    def test_odd_messages(self):
        for message in ({"id": "stale/", "ok": True}, {"id": "stale/x/1", "ok": True}, {"id": "", "ok": True}, {"id": "/1"},
                        {"id": 7}, {"event": 5}, {"event": "report", "args": []}, {"event": "op.progress", "args": []},
                        {"event": "op.progress", "args": {"op": "x/1/do", "percent": 5, "message": 3}}, {"event": "none"}, {},
                        {"id": "ask/1", "ok": True}, {"id": "channel/", "ok": False}, {"id": "channel/x", "ok": True},
                        {"event": "hello", "args": {}}, {"event": "stats", "args": {"vms": [[]]}}):
            self.bad.say(message)
        self.settled()
        for text in ("[" * 10000, "nothing", "[]", '{"a":1,"a":2}'):
            self.bad.say(text)
            cluster.wait_until(lambda: self.bad.ended, 20, "the end of the connection")
            self.bad.connect()

    def test_answers_of_another_server(self):
        """The repository is asked of the one; what the other answers counts for nothing."""
        job = self.api.post("/repositories", {"name": "theirs", "server": "bad", "path": "/nowhere"})
        call = self.bad.next("repository.open")
        self.worse.say({"id": call["id"], "ok": True, "result": {"usable": True, "capacity": GREATEST}})
        self.worse.event("op.progress", {"op": call["id"], "percent": 77, "message": "mine"})
        time.sleep(1)
        now = self.api.get("/jobs/" + job["id"])
        self.assertEqual((now["state"], now["progress"]), ("running", 0))
        self.bad.say({"id": call["id"], "ok": False, "error": {"code": "\x1b", "message": "\x1b[2J" + "x" * 1000000, "field": "y" * 100000}})
        undo = self.bad.next("repository.close")
        self.bad.say({"id": undo["id"], "ok": True, "result": {}})
        ended = self.api.wait_job(job)
        self.assertEqual(ended["state"], "failed")
        self.assertLessEqual(len(ended["error"]), 4096)
        self.assertNotIn("\x1b", ended["error"])

    def test_an_operator_does_not_abort_what_an_administrator_does(self):
        job = self.api.post("/repositories", {"name": "never", "server": "bad", "path": "/nowhere"})
        call = self.bad.next("repository.open")
        self.api.post("/users", {"name": "aborter", "password": "longenough", "role": "operator"})
        operator = self.cluster.manager.client().sign_in("aborter", "longenough")
        answer = operator.raw("POST", f"/jobs/{job['id']}/abort")
        self.assertEqual((answer.status, answer.json["code"]), (403, "forbidden"))
        self.api.post(f"/jobs/{job['id']}/abort")
        self.bad.say({"id": call["id"], "ok": False, "error": {"code": "cancelled", "message": "cancelled"}})
        undo = self.bad.next("repository.close")
        self.bad.say({"id": undo["id"], "ok": True, "result": {}})
        self.assertEqual(self.api.wait_job(job)["state"], "aborted")
        operator.close()

    def test_one_that_never_stops_talking(self):
        began, n = time.monotonic(), 0
        with open(self.cluster.manager.log) as f:
            while "server worse: says more than can be listened to" not in f.read():
                self.assertLess(time.monotonic() - began, 120, f"{n} messages")
                for _ in range(500):
                    self.worse.event("cluster.state", {"quorate": n % 2 == 0, "reason": "x" * 2000})
                    n += 1
        said, began = time.monotonic() - began, time.monotonic()
        self.api.get("/about")
        took = time.monotonic() - began
        print(f"  {n} messages in {said:.1f} s; an answer after {took:.2f} s", flush=True)
        self.assertLess(took, 10)
