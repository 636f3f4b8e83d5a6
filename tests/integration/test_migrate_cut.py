# SPDX-License-Identifier: Apache-2.0
"""The migration network swallows everything, at one instant of a move after another: with disks that move too QEMU's monitor may itself
wait for the network, and is freed out of band. Whatever the instant, the job ends in bounded time and the guest goes on.

Named here: vm_migrate."""

import os
import time

import checker
import cluster
import lab

SLOW = 120  # of a machine under load
INSTANTS = [float(s) for s in os.environ.get("CUT_INSTANTS", "0 0.05 0.3").split()]


class Cut(lab.LabCase):
    SERVERS, TEMPLATE, REPOSITORY = 2, False, False

    @classmethod
    def prepare(cls):
        l = cls.lab
        cls.times = []
        cls.api.post("/pools", {"name": "p", "memory_reserve": 0, "migration": {"bandwidth": 12 << 20}})
        for name in l.names:
            l.give_roles(name)
            cls.api.do("/pools/p/add", {"server": name})
        cls.api.do("/repositories", {"name": "local2", "server": "server2", "path": l.agents[1].repository})
        cls.api.do("/repositories", {"name": "shared", "pool": "p", "path": l.dir + "/shared"})
        kernel, initrd = checker.images(l.dir)
        cls.api.do("/templates", {"name": "tiny", "repository": "shared", "kernel_image": {"path": kernel},
                                  "initrd_image": {"path": initrd}, "machine": "q35", "memory": 112 << 20,
                                  "cmdline": "console=ttyS0 quiet"}, timeout=SLOW)
        cls.api.do("/disks", {"name": "own", "repository": "local", "size": 64 << 20})
        cls.api.do("/vms", {"name": "one", "template": "tiny", "pool": "p", "server": "server1", "display": "none",
                            "restart_policy": "never", "disks": [{"disk": "own"}]})
        cls.api.do("/vms/one/start", timeout=SLOW)
        cls.guest = checker.Checked(l, "one", disk=40)

    @classmethod
    def tearDownClass(cls):
        print("\nseconds from the cut until the job had ended")
        for what, seconds in cls.times:
            print(f"  {what:50} {seconds:5.1f}")
        super().tearDownClass()

    def where(self):
        key = self.api.get("/vms/one")["server"]
        return next(name for name in self.lab.names if self.api.get(f"/servers/{name}")["id"] == key)

    def attempt(self, step, delay):
        source = self.where()
        job = self.api.post("/vms/one/migrate", {"to": next(n for n in self.lab.names if n != source), "disks": True})

        def begun():
            now = self.api.get("/jobs/" + job["id"])
            self.assertNotIn(now["state"], cluster.rest.ENDED, now)
            return next(s for s in now["steps"] if s["name"] == step)["state"] != "pending"
        cluster.wait_until(begun, SLOW, f"the step {step}", pause=0.005)
        time.sleep(delay)
        self.lab.cut(source, "migration")
        moment = time.monotonic()
        ended = self.api.wait_job(job, SLOW)
        self.times.append((f"{delay} s after {step} had begun: {ended['state']}", time.monotonic() - moment))
        self.assertEqual(ended["state"], "failed", cluster.pretty(ended))
        self.lab.heal()
        self.assertEqual((self.api.get("/vms/one")["state"], self.where()), ("running", source))
        self.guest.check()

    def test_instants(self):
        for delay in INSTANTS:
            with self.subTest(delay=delay):
                self.attempt("send", delay)

    def test_then_it_moves(self):
        """Nothing is left that would be in the way."""
        source = self.where()
        self.api.do("/vms/one/migrate", {"to": next(n for n in self.lab.names if n != source), "disks": True}, timeout=SLOW)
        self.assertNotEqual(self.where(), source)
        self.guest.check()
