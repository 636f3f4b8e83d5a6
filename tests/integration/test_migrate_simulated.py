# SPDX-License-Identifier: Apache-2.0
"""Live migration as a job, between simulated servers: what is refused, what it shows, how it is aborted.

Named here: vm_migrate."""

import unittest

import cluster
import rest
import simulated


class Moves(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = simulated.SimulatedCluster(3)
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.api = cls.cluster.api

    def vm(self, name, **more):
        body = {"name": name, "server": self.cluster.names[0], "repository": "local1", "start": True, "restart_policy": "never",
                "disks": [{"size": 1 << 30}]}
        body.update(more)
        self.api.do("/vms", body)
        self.addCleanup(self.remove, name)
        return self.api.get("/vms/" + name)

    def remove(self, name):
        if self.api.get("/vms/" + name)["state"] not in ("stopped", "crashed"):
            self.api.do(f"/vms/{name}/kill")
        self.api.remove("/vms/" + name)

    def refused(self, code, words, vm, body=None):
        with self.assertRaises(rest.ApiError) as caught:
            self.api.post(f"/vms/{vm}/migrate", body)
        self.assertEqual(caught.exception.code, code, caught.exception)
        for word in [words] if isinstance(words, str) else words:
            self.assertIn(word, str(caught.exception))

    def test_there_and_back(self):
        first, second, _ = self.cluster.names
        before = self.vm("walker")
        job = self.api.do("/vms/walker/migrate", {"to": second, "disks": True})
        self.assertEqual([s["name"] for s in job["steps"]],
                         ["offer", "make disk", "receive", "send", "switch", "release", "delete disk"])
        self.assertIn(f"server {first} -> {second}", [c.get("detail") for c in job["changes"]])
        vm = self.api.get("/vms/walker")
        self.assertEqual((self.cluster.server_of("walker"), vm["state"], vm["target"]), (second, "running", ""))
        self.assertEqual(vm["started"], before["started"], "it has not been started again")
        local2 = self.api.get("/repositories/local2")["id"]
        self.assertEqual(vm["repository"], local2)
        self.assertEqual(self.api.get("/disks/" + vm["disks"][0]["disk"])["repository"], local2)
        self.api.do("/vms/walker/suspend")
        self.api.do("/vms/walker/migrate", {"to": first, "disks": True})
        self.assertEqual((self.cluster.server_of("walker"), self.cluster.vm_state("walker")), (first, "suspended"))
        self.api.do("/vms/walker/resume")
        for server in self.api.list("/servers"):
            self.assertEqual(server["unknown_guests"], [])

    def test_to_where_tarn_chooses(self):
        first, second, _ = self.cluster.names
        self.vm("chosen")
        self.api.do("/vms/chosen/migrate", {"disks": True})
        self.assertNotEqual(self.cluster.server_of("chosen"), first)
        self.vm("light", disks=[])
        self.refused("no-capacity", ["no other server can take", "local1", second], "light")

    def test_what_is_refused(self):
        first, second, _ = self.cluster.names
        self.vm("stays")
        self.refused("conflict", "already", "stays", {"to": first, "disks": True})
        self.refused("not-found", "nowhere", "stays", {"to": "nowhere"})
        self.refused("conflict", ["stays-1", "local1", second, "--disks"], "stays", {"to": second})
        said = self.cluster.cli("vm", "migrate", "stays", "--to", second).stderr
        self.assertEqual(said.count("--disks"), 1, said)
        self.refused("conflict", "does not reach", "stays", {"to": second, "disks": True, "repository": "local1"})
        self.refused("not-found", "nothing", "stays", {"to": second, "disks": True, "repository": "nothing"})
        self.refused("not-found", "", "nobody")
        self.api.do("/vms/stays/kill")
        self.refused("conflict", "stopped: only one that runs", "stays", {"to": second, "disks": True})

    def test_abort_leaves_it_where_it_was(self):
        first, second, _ = self.cluster.names
        self.vm("slow", cmdline="sim.move=30")
        job = self.api.post("/vms/slow/migrate", {"to": second, "disks": True})

        def under_way():
            now = self.api.get("/jobs/" + job["id"])
            return now if now["message"].startswith("about") and now["progress"] > 0 else None
        cluster.wait_until(under_way, 20, "progress")
        vm = self.api.get("/vms/slow")
        server = next(s for s in self.api.list("/servers") if s["name"] == second)
        self.assertEqual((vm["state"], vm["target"]), ("migrating", server["id"]))
        self.api.post(f"/jobs/{job['id']}/abort")
        self.assertEqual(self.api.wait_job(job)["state"], "aborted")
        vm = self.api.get("/vms/slow")
        self.assertEqual((self.cluster.server_of("slow"), vm["state"], vm["target"]), (first, "running", ""))
        self.assertEqual(self.api.get("/disks/" + vm["disks"][0]["disk"])["repository"], self.api.get("/repositories/local1")["id"])

    def test_a_kill_does_not_wait_for_a_move(self):
        self.vm("doomed", cmdline="sim.move=60")
        job = self.api.post("/vms/doomed/migrate", {"to": self.cluster.names[1], "disks": True})
        cluster.wait_until(lambda: self.cluster.vm_state("doomed") == "migrating", 20, "migrating")
        self.api.do("/vms/doomed/kill")
        self.assertEqual(self.api.wait_job(job)["state"], "aborted")
        self.assertEqual(self.cluster.vm_state("doomed"), "stopped")

    def test_by_command_line(self):
        first, second, _ = self.cluster.names
        self.vm("cli")
        done = self.cluster.cli("vm", "migrate", "cli", "--to", second, "--disks")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.cluster.server_of("cli"), second)
        done = self.cluster.cli("vm", "migrate", "cli", "--to", first)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--disks", done.stderr)
