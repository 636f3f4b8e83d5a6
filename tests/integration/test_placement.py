# SPDX-License-Identifier: Apache-2.0
"""Where virtual machines start, with simulated servers: over-commit, rules, a full pool, many starts at once.

Named here: vm_placement, server_maintenance."""

import json
import unittest

import cluster
import rest
import simulated

GIB = 1 << 30
# facts_sim_hardware() in src/agent/facts.c
SIM_MEMORY, SIM_CPUS = 512 * GIB, 64


class Placement(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(0, prefix="tarn-p-")
        cls.cluster.start()
        cls.simulated = simulated.SimulatedServers(cls.cluster, 4)
        cls.cluster.agents = [cls.simulated]
        try:
            cls.simulated.start()
            cls.api = cls.cluster.api
            cls.names = cls.simulated.names()
            cls.api.post("/pools", {"name": "east", "memory_reserve": 0, "cpu_overcommit": 10000})
            for name in cls.names:
                cls.api.do("/pools/east/add", {"server": name})
            cls.api.do("/repositories", {"name": "shared", "pool": "east", "path": "/sim/shared"})
        except BaseException:
            cls.cluster.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def setUp(self):
        self.ids = {s["id"]: s["name"] for s in self.api.list("/servers")}

    def tearDown(self):
        for rule in self.api.list("/rules"):
            self.api.delete("/rules/" + rule["id"])
        for vm in self.api.list("/vms"):
            if vm["state"] not in ("stopped", "crashed"):
                self.api.do(f"/vms/{vm['id']}/kill")
            self.api.remove("/vms/" + vm["id"])

    def vm(self, name, start=True, **more):
        body = {"name": name, "pool": "east", "start": start, "memory": 200 * GIB, "display": "none", "nics": []}
        body.update(more)
        return self.api.do("/vms", body)

    def where(self, name):
        return self.ids.get(self.api.get("/vms/" + name)["server"], "")

    def test_spread_then_full(self):
        for number in range(8):
            job = self.vm(f"v{number}")
            chosen = [p for p in job["placement"] if p.get("chosen")]
            self.assertEqual([p["name"] for p in chosen], [self.where(f"v{number}")])
            self.assertIn("% of memory", chosen[0]["reason"])
        self.assertEqual(sorted(self.where(f"v{n}") for n in range(8)), sorted(self.names * 2))
        answer = self.api.raw("POST", "/vms", {"name": "v8", "pool": "east", "start": True, "memory": 200 * GIB})
        self.assertEqual((answer.status, answer.json["code"]), (507, "no-capacity"))
        for name in self.names:
            self.assertIn(f'server "{name}" has 112', answer.json["message"])
        self.assertEqual(self.api.raw("GET", "/vms/v8").status, 404)
        # Less is allowed from now on: what runs is left alone, and said.
        self.api.patch("/pools/east", {"memory_overcommit": 50})
        self.assertEqual({vm["state"] for vm in self.api.list("/vms")}, {"running"})
        def alarms():
            return [a for a in self.api.list("/alarms") if a["code"] == "server.over-committed" and a["active"]]
        self.assertEqual(len(alarms()), 4, self.api.list("/alarms"))
        self.assertIn("400 GiB of memory where 256 GiB may be", alarms()[0]["message"])
        self.api.patch("/pools/east", {"memory_overcommit": 100})
        self.assertEqual(alarms(), [])

    def test_rules_and_reasons(self):
        self.vm("a", memory=GIB, tags=["db"])
        self.api.post("/rules", {"name": "apart", "pool": "east", "type": "apart", "must": True, "tag": "db"})
        for name in ("b", "c", "d"):
            self.vm(name, memory=GIB, tags=["db"])
        self.assertEqual(sorted(self.where(n) for n in "abcd"), self.names)
        with self.assertRaises(rest.ApiError) as refused:
            self.vm("e", memory=GIB, tags=["db"])
        self.assertIn("breaks rule apart", refused.exception.message)
        self.api.patch("/rules/apart", {"must": False})
        self.vm("e", memory=GIB, tags=["db"])
        shown = self.api.get("/vms/e/placement")
        self.assertEqual(len(shown["servers"]), 4)
        here = next(p for p in shown["servers"] if p["name"] == self.where("e"))
        self.assertFalse(here["ok"])
        self.assertIn("has it now", here["reason"])
        self.assertTrue(all("breaks rule apart" in p["reason"] for p in shown["servers"] if p["ok"]), shown)

    def test_stopped_ones_start_where_they_should(self):
        self.vm("s", start=False, memory=GIB)
        self.assertEqual(self.where("s"), "", "nothing has been decided before its first start")
        self.api.do("/vms/s/start")
        first = self.where("s")
        self.api.do("/vms/s/kill")
        self.api.do("/vms/s/start")
        self.assertEqual(self.where("s"), first, "it keeps to where it ran")
        self.api.do("/vms/s/kill")
        other = next(n for n in self.names if n != first)
        self.api.post("/rules", {"name": "there", "pool": "east", "type": "on-servers", "must": True, "vms": ["s"], "servers": [other]})
        job = self.api.do("/vms/s/start")
        self.assertEqual(self.where("s"), other)
        self.assertEqual([s["name"] for s in job["steps"]], ["place", "leave", "start"])
        self.assertEqual(len([p for p in job["placement"] if not p["ok"] and "breaks rule there" in p["reason"]]), 3)
        done = self.cluster.cli("vm", "placement", "s", "-o", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(json.loads(done.stdout)["servers"]), 4)
        shown = self.cluster.cli("job", "show", job["id"])
        self.assertIn("breaks rule there", shown.stdout)

    def test_many_at_once_never_over_commit(self):
        """Four fit on each server; of twenty asked for at once, sixteen run."""
        jobs = []
        for number in range(20):
            answer = self.api.raw("POST", "/vms", {"name": f"m{number}", "pool": "east", "start": True, "memory": 128 * GIB})
            if answer.status == 202:
                jobs.append(answer.json["id"])
            else:
                self.assertEqual(answer.json["code"], "no-capacity")
        for key in jobs:
            cluster.wait_until(lambda key=key: self.api.get("/jobs/" + key)["state"] in rest.ENDED, 60, "the job's end")
        running = [vm for vm in self.api.list("/vms") if vm["state"] == "running"]
        self.assertEqual(len(running), 16)
        for name in self.names:
            self.assertEqual(sum(vm["memory"] for vm in running if self.ids[vm["server"]] == name), SIM_MEMORY)

    def test_a_server_is_emptied(self):
        first = self.names[0]
        for number in range(20):
            self.vm(f"g{number}", memory=(number + 1) * GIB, server=first)
        self.vm("off", start=False, memory=GIB, server=first)
        done = self.cluster.cli("server", "maintenance", "on", first, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.api.get("/servers/" + first)["maintenance"], "on")
        moved = [self.where(f"g{n}") for n in range(20)]
        self.assertNotIn(first, moved)
        self.assertEqual(len(set(moved)), 3, "over all the others")
        self.assertEqual({self.api.get(f"/vms/g{n}")["state"] for n in range(20)}, {"running"})
        jobs = [j for j in self.api.get("/jobs", limit=200)["items"] if j["kind"] == "vm.migrate"]
        order = [j["object"]["name"] for j in sorted(jobs, key=lambda j: j["id"])]
        self.assertEqual(order[:2], ["g19", "g18"], "the greatest first")
        self.refused(409, "conflict", {"name": "no", "pool": "east", "server": first, "start": True}, "is in maintenance")
        self.api.do("/vms/off/start")
        self.assertNotEqual(self.where("off"), first)
        self.assertNotEqual(self.cluster.cli("server", "maintenance", "perhaps", first).returncode, 0)
        done = self.cluster.cli("server", "maintenance", "off", first)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.api.get("/servers/" + first)["maintenance"], "off")

    def test_what_cannot_move_is_said(self):
        first = self.names[0]
        self.api.do("/repositories", {"name": "own", "server": first, "path": "/sim/own"})
        self.vm("bound", memory=GIB, server=first, repository="own")
        job = self.api.post(f"/servers/{first}/maintenance", {"on": True})

        def message():
            shown = self.api.get("/jobs/" + job["id"])["message"]
            return shown if "cannot move: bound: " in shown else None
        self.assertIn("own", cluster.wait_until(message, 20, "the reason"))
        self.assertEqual(self.api.get("/servers/" + first)["maintenance"], "draining")
        self.api.post(f"/jobs/{job['id']}/abort")
        cluster.wait_until(lambda: self.api.get("/jobs/" + job["id"])["state"] == "aborted", 20, "the abort")
        self.assertEqual(self.api.get("/servers/" + first)["maintenance"], "off")
        self.assertEqual(self.api.get("/vms/bound")["state"], "running")
        self.api.do("/vms/bound/kill")
        self.api.remove("/vms/bound")
        self.api.remove("/repositories/own")

    def refused(self, status, code, body, text):
        answer = self.api.raw("POST", "/vms", body)
        self.assertEqual((answer.status, answer.json["code"]), (status, code), answer.json)
        self.assertIn(text, answer.json["message"])
