# SPDX-License-Identifier: Apache-2.0
"""The manager is killed after each of its commits during a migration ("vm.migrate") between simulated servers: the virtual machine
is on one of the two and runs, and nothing of it is left on the other."""

import os
import unittest

import cluster
import rest
import simulated

FULL = os.environ.get("CRASH") == "full"
CUT_OFF = (OSError, rest.http.client.HTTPException, rest.ApiError)


class ManagerCrash(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = simulated.SimulatedCluster(2)
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.cluster.api.do("/vms", {"name": "crash", "server": cls.cluster.names[0], "repository": "local1", "start": True,
                                    "restart_policy": "never", "disks": [{"size": 4 << 20}]})

    def restart(self, env=None):
        c = self.cluster
        c.manager.stop() if c.manager.running() else None
        c.api.close()
        c.manager.start(env)
        try:
            cluster.wait_until(lambda: c.connected() == 2, 60, "both servers")
        except CUT_OFF:
            pass  # it has crashed already

    def settle(self):
        def ended():
            return not [j for j in self.cluster.api.get("/jobs", limit=20)["items"] if j["state"] not in rest.ENDED]
        cluster.wait_until(ended, 60, "the end of every job")

    def check(self):
        api = self.cluster.api
        vm = api.get("/vms/crash")
        self.assertEqual((vm["state"], vm["target"]), ("running", ""))
        disk = api.get("/disks/" + vm["disks"][0]["disk"])
        repository = api.get("/repositories/" + disk["repository"])
        self.assertEqual((disk["state"], repository["server"]), ("ready", vm["server"]))
        for server in api.list("/servers"):
            self.assertEqual(server["unknown_guests"], [])

    def test_after_each_commit(self):
        api, points = self.cluster.api, 0
        for n in range(1, 60, 1 if FULL else 2):
            self.restart({"TARN_TEST": "1", "TARN_CRASH_AFTER_COMMITS": str(n)})
            try:
                self.cluster.api.post("/vms/crash/migrate", {"disks": True})
                cluster.wait_until(lambda: not self.cluster.manager.running() or self.quiet(), 60, "crash or end", 0.05)
            except CUT_OFF:
                pass
            hit = not self.cluster.manager.running()
            self.restart()
            self.settle()
            self.check()
            points += hit
            if not hit and n > 10:
                break
        print(f"  vm.migrate: crashed at {points} points", flush=True)
        self.assertGreater(points, 2)
        self.assertTrue([j for j in api.list("/jobs") if j["kind"] == "vm.migrate" and j["state"] == "done"])

    def quiet(self):
        try:
            return not [j for j in self.cluster.api.get("/jobs", limit=20)["items"] if j["state"] not in rest.ENDED]
        except CUT_OFF:
            return False
