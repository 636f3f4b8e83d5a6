# SPDX-License-Identifier: Apache-2.0
"""A server with twenty real guests is emptied: how long that takes with as many moves at once as the pool allows, that each guest
is there afterwards and answers, and that one that cannot move is named with the reason.

Named here: server_maintenance."""

import os
import time
import unittest

import cluster
import rest

GUESTS, PARALLEL = 20, 4


class Drain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = c = cluster.Cluster(2, prefix="tarn-d-")
        cls.addClassCleanup(c.close)
        c.start()
        cls.api = c.api
        cls.first, cls.second = c.agents
        for number, agent in enumerate(c.agents):
            c.api.patch("/servers/" + agent.name, {"addresses": [{"address": f"127.0.0.{number + 2}", "roles": ["migration"]}]})
        c.repository("own", cls.first)
        c.api.do("/repositories", {"name": "shared", "server": cls.first.name, "path": os.path.join(c.dir, "shared")})
        c.api.do("/repositories/shared/present", {"server": cls.second.name})
        c.api.post("/pools", {"name": "east", "memory_reserve": 0, "cpu_overcommit": 2000, "migration": {"parallel": PARALLEL}})
        for agent in c.agents:
            c.api.do("/pools/east/add", {"server": agent.name})
        c.tiny_template(repository="shared")

    def start_all(self, bodies):
        jobs = [self.api.post("/vms", {"template": "tiny", "pool": "east", "server": self.first.name, "display": "none", "start": True,
                                       "restart_policy": "never", **body}) for body in bodies]
        for job in jobs:
            ended = self.api.wait_job(job, 300)
            self.assertEqual(ended["state"], "done", cluster.pretty(ended))

    def answers(self, name):
        """It has booted, and says something that it was asked for after the move."""
        with rest.Console(self.api, name) as console:
            console.send("\n")
            console.prompt(300)
            self.assertEqual(console.command("echo still-$((6 * 7))-here"), ("still-42-here\n", 0))

    def test_twenty_guests(self):
        names = [f"g{number}" for number in range(GUESTS)]
        self.api.do("/disks", {"name": "d", "repository": "own", "size": 16 << 20})
        self.start_all([{"name": name, "repository": "shared"} for name in names] +
                       [{"name": "bound", "repository": "shared", "disks": [{"disk": "d"}]}])
        for name in names[::5]:
            self.answers(name)
        self.assertEqual(len(self.first.guests()), GUESTS + 1)
        began, most = time.monotonic(), 0
        job = self.api.post(f"/servers/{self.first.name}/maintenance", {"on": True})
        while True:
            vms = {vm["name"]: vm for vm in self.api.list("/vms")}
            most = max(most, sum(vm["target"] != "" for vm in vms.values()))
            message = self.api.get("/jobs/" + job["id"])["message"]
            if message.startswith("moves 0 of 1 guests that are left; cannot move: bound: "):
                break
            self.assertLess(time.monotonic() - began, 400, message)
            time.sleep(0.05)
        took = time.monotonic() - began
        print(f"  {GUESTS} guests of 96 MiB left in {took:.1f} s, at most {most} at once; {message}", flush=True)
        self.assertLessEqual(most, PARALLEL)
        self.assertIn('its virtual disk "d" is in storage repository "own"', message)
        # What keeps the server from being empty is stopped, and the job goes on.
        self.api.do("/vms/bound/kill")
        self.assertEqual(self.api.wait_job(job, 60)["state"], "done")
        self.assertEqual(self.api.get("/servers/" + self.first.name)["maintenance"], "on")
        second = self.api.get("/servers/" + self.second.name)
        for name in names:
            vm = self.api.get("/vms/" + name)
            self.assertEqual((vm["state"], vm["server"], vm["target"]), ("running", second["id"], ""), name)
        self.assertEqual((len(self.second.guests()), self.first.guests(), second["unknown_guests"]), (GUESTS, {}, []))
        moves = [j for j in self.api.get("/jobs", limit=200)["items"] if j["kind"] == "vm.migrate"]
        self.assertEqual((len(moves), {j["state"] for j in moves}), (GUESTS, {"done"}))
        for name in names:
            self.answers(name)
