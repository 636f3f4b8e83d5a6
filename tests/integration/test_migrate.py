# SPDX-License-Identifier: Apache-2.0
"""Live migration of real guests between two agents, on 127.0.0.2 and .3: each guest checks its own memory and disk all the while.

Named here: vm_migrate."""

import os
import unittest

import checker
import cluster
import rest


class MigrateCase(unittest.TestCase):
    """Two servers with a shared repository; both local ones too."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(2, prefix="tarn-m-")
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.api = cls.cluster.api
        cls.first, cls.second = cls.cluster.agents
        for number, agent in enumerate(cls.cluster.agents):
            cls.cluster.repository("local" + str(number + 1), agent)
            cls.api.patch("/servers/" + agent.name, {"addresses": [{"address": f"127.0.0.{number + 2}", "roles": ["migration"]}]})
        cls.api.do("/repositories", {"name": "shared", "server": cls.first.name, "path": os.path.join(cls.cluster.dir, "shared")})
        cls.api.do("/repositories/shared/present", {"server": cls.second.name})
        kernel, initrd = checker.images(cls.cluster.dir)
        cls.api.do("/templates", {"name": "tiny", "repository": "shared", "kernel_image": {"path": kernel},
                                  "initrd_image": {"path": initrd}, "machine": "q35", "memory": 128 << 20,
                                  "cmdline": "console=ttyS0 quiet"}, timeout=120)

    def guest(self, name, **more):
        body = {"name": name, "template": "tiny", "start": True, "display": "none", "restart_policy": "never",
                "server": self.first.name, "disks": [{"size": 32 << 20}]}
        body.update(more)
        self.addCleanup(self.remove, name)
        self.api.do("/vms", body, timeout=120)
        return checker.Checked(self.cluster, name)

    def remove(self, name):
        if self.api.raw("GET", "/vms/" + name).status != 200:
            return
        if self.api.get("/vms/" + name)["state"] not in ("stopped", "crashed"):
            self.api.do(f"/vms/{name}/kill")
        self.api.remove("/vms/" + name)

    def assert_on(self, name, agent, state="running"):
        """It is there, as one process, and nowhere else."""
        vm = self.api.get("/vms/" + name)
        self.assertEqual((vm["state"], vm["target"]), (state, ""))
        for one in self.cluster.agents:
            self.assertEqual(vm["id"] in one.guests(), one is agent, one.name)
        server = self.api.get("/servers/" + agent.name)
        self.assertEqual((vm["server"], server["unknown_guests"]), (server["id"], []))


class Shared(MigrateCase):
    def test_there_and_back_with_a_busy_guest(self):
        guest = self.guest("busy")
        job = self.api.do("/vms/busy/migrate", {"to": self.second.name}, timeout=120)
        print("  " + "; ".join(c.get("detail", "") for c in job["changes"]), flush=True)
        self.assertTrue([c for c in job["changes"] if "paused while its memory moved" in c.get("detail", "")], job["changes"])
        self.assert_on("busy", self.second)
        guest.check()
        self.api.do("/vms/busy/migrate", {}, timeout=120)
        self.assert_on("busy", self.first)
        guest.check()
