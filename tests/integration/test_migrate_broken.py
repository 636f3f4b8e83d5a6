# SPDX-License-Identifier: Apache-2.0
"""Post-copy moves of which one side dies while the other still needs it, at instants that are not left to chance: the guest has
crashed, nothing of it is left anywhere, it can be started again, and its restart policy holds.

Named here: vm_migrate."""

import os
import signal
import time
import unittest

import checker
import cluster
import rest

SLOW = 4 << 20  # bytes/s: what follows after the guest runs takes many seconds


class BrokenPostCopy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = c = cluster.Cluster(2, prefix="tarn-m-")
        cls.addClassCleanup(c.close)
        c.start()
        cls.api = c.api
        cls.first, cls.second = c.agents
        c.api.do("/repositories", {"name": "shared", "server": cls.first.name, "path": os.path.join(c.dir, "shared")})
        c.api.do("/repositories/shared/present", {"server": cls.second.name})
        c.api.post("/pools", {"name": "east", "memory_reserve": 0, "migration": {"bandwidth": SLOW, "post_copy": True}})
        for number, agent in enumerate(c.agents):
            c.api.do("/pools/east/add", {"server": agent.name})
            c.api.patch("/servers/" + agent.name, {"addresses": [{"address": f"127.0.0.{number + 2}", "roles": ["migration"]}]})
        kernel, initrd = checker.images(c.dir)
        c.api.do("/templates", {"name": "tiny", "repository": "shared", "kernel_image": {"path": kernel},
                                "initrd_image": {"path": initrd}, "machine": "q35", "memory": 112 << 20,
                                "cmdline": "console=ttyS0 quiet"}, timeout=120)

    def guest(self, **more):
        """One that writes memory and disk all the while, so that QEMU itself misses pages that have not come."""
        self.addCleanup(self.remove)
        self.api.do("/vms", {"name": "torn", "template": "tiny", "pool": "east", "server": self.first.name, "start": True,
                             "display": "none", "restart_policy": "never", "disks": [{"size": 32 << 20}], **more}, timeout=180)
        checker.Checked(self.cluster, "torn")
        self.vm = self.api.get("/vms/torn")["id"]

    def remove(self):
        if self.api.get("/vms/torn")["state"] not in ("stopped", "crashed"):
            self.api.do("/vms/torn/kill")
        self.api.remove("/vms/torn")

    def step(self, name):
        return next(s for s in self.api.get("/jobs/" + self.job["id"])["steps"] if s["name"] == name)["state"]

    def begin(self):
        self.job = self.api.post("/vms/torn/migrate", {"to": self.second.name})

    def until(self, name):
        cluster.wait_until(lambda: self.step(name) == "done", 60, f"the end of step {name}")

    def sent_and_not_activated(self):
        """Its devices are there, its memory mostly is not, and the manager does not know yet."""
        self.begin()
        self.until("receive")
        manager = self.cluster.manager.process
        manager.send_signal(signal.SIGSTOP)
        self.addCleanup(manager.send_signal, signal.SIGCONT)
        time.sleep(3)

    def arriving(self):
        """It runs at the destination, which still needs the source."""
        self.begin()
        self.until("switch")
        self.assertIn(self.vm, self.first.guests(), "all of it has come already")

    def ended(self):
        try:
            return self.api.wait_job(self.job, 120)
        except TimeoutError as error:
            logs = "\n".join(daemon.tail() for daemon in [self.cluster.manager, *self.cluster.agents])
            raise AssertionError(f"{error}\n{logs}") from None

    def assert_crashed(self, *servers):
        job = self.ended()
        cluster.wait_until(lambda: self.api.get("/vms/torn")["state"] == "crashed", 60, "its crash")
        vm = self.api.get("/vms/torn")
        self.assertIn(vm["server"], [self.api.get("/servers/" + agent.name)["id"] for agent in servers], cluster.pretty(job))
        cluster.wait_until(lambda: not self.first.guests() and not self.second.guests(), 10, "the end of what is left")
        self.assertEqual(vm["target"], "")
        print(f"  {job['state']}; {vm['state_reason'][:150]}", flush=True)
        self.api.do("/vms/torn/start", timeout=120)
        with rest.Console(self.api, "torn") as console:
            console.send("\n")
            console.prompt(120)

    def test_source_dies_while_memory_follows(self):
        self.guest()
        self.arriving()
        cluster.kill_pid(self.first.guests()[self.vm])
        self.assert_crashed(self.second)

    def test_the_restart_policy_holds_there(self):
        self.guest(restart_policy="on-failure")
        self.arriving()
        before = self.second.guests()[self.vm]
        cluster.kill_pid(self.first.guests()[self.vm])
        cluster.wait_until(lambda: self.second.guests().get(self.vm, before) != before, 60, "its restart")
        self.assertEqual(self.api.wait_job(self.job, 60)["state"], "done")
        self.cluster.wait_vm("torn", "running", 60)
        self.assertEqual(self.first.guests(), {})

    def test_source_dies_before_it_runs_there(self):
        self.guest()
        self.sent_and_not_activated()
        cluster.kill_pid(self.first.guests()[self.vm])
        time.sleep(0.5)
        self.cluster.manager.process.send_signal(signal.SIGCONT)
        self.assert_crashed(self.first)

    def test_destination_dies_while_memory_follows(self):
        self.guest()
        self.arriving()
        cluster.kill_pid(self.second.guests()[self.vm])
        self.assert_crashed(self.second)

    def test_destination_dies_before_it_runs_there(self):
        self.guest()
        self.sent_and_not_activated()
        cluster.kill_pid(self.second.guests()[self.vm])
        time.sleep(0.5)
        self.cluster.manager.process.send_signal(signal.SIGCONT)
        self.assert_crashed(self.first)
