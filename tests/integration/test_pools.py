# SPDX-License-Identifier: Apache-2.0
"""Server pools, their members and placement rules, with simulated servers.

Named here: pool_list, pool_create, pool_show, pool_change, pool_delete, pool_add, pool_remove, rule_list, rule_create, rule_show,
rule_change, rule_delete."""

import json

import cluster


class Pools(cluster.ClusterCase):
    TEMPLATE = False

    def test_a_pool_from_beginning_to_end(self):
        server = self.cluster.agent.name
        pool = self.api.post("/pools", {"name": "east", "memory_overcommit": 150, "migration": {"parallel": 4}})
        self.assertEqual((pool["placement"], pool["failover"], pool["memory_overcommit"]), ("balance", "restart", 150))
        self.assertEqual(pool["migration"], {"bandwidth": 0, "post_copy": False, "auto_converge": True, "tls": True, "parallel": 4})
        self.refused(409, "exists", "POST", "/pools", {"name": "east"})
        self.refused(400, "invalid", "POST", "/pools", {"name": "west", "cpu_baseline": "PDP-11"})
        self.assertEqual(self.api.patch("/pools/east", {"placement": "pack"})["placement"], "pack")
        self.assertEqual([p["name"] for p in self.api.list("/pools")], ["east"])
        self.api.do("/vms", {"name": "resident"})
        self.api.do("/pools/east/add", {"server": server})
        self.assertEqual(self.api.get("/servers/" + server)["pool"], pool["id"])
        self.assertEqual(self.api.get("/vms/resident")["pool"], pool["id"], "its guests come with it")
        self.assertEqual([s["name"] for s in self.api.list("/servers", filter="pool=east")], [server])
        self.api.post("/pools", {"name": "west"})
        self.refused(409, "conflict", "POST", "/pools/west/add", {"server": server})
        self.refused(409, "in-use", "DELETE", "/pools/east")
        self.rules(server)
        self.api.do("/pools/east/remove", {"server": server})
        self.assertEqual(self.api.get("/vms/resident")["pool"], "")
        self.api.delete("/pools/east")
        self.api.delete("/pools/west")
        self.refused(404, "not-found", "GET", "/pools/east")
        self.api.remove("/vms/resident")

    def rules(self, server):
        self.refused(400, "invalid", "POST", "/rules", {"name": "r", "pool": "east", "type": "apart"})
        self.refused(400, "invalid", "POST", "/rules", {"name": "r", "pool": "east", "type": "on-servers", "vms": ["resident"]})
        self.refused(404, "not-found", "POST", "/rules", {"name": "r", "pool": "east", "type": "apart", "vms": ["nobody"]})
        rule = self.api.post("/rules", {"name": "r", "pool": "east", "type": "on-servers", "vms": ["resident"], "servers": [server]})
        self.assertFalse(rule["must"])
        self.assertTrue(self.api.patch("/rules/r", {"must": True})["must"])
        self.assertEqual(self.api.get("/rules/r")["id"], rule["id"])
        self.assertEqual(len(self.api.list("/rules", filter="pool=east")), 1)
        self.refused(409, "in-use", "POST", "/pools/east/remove", {"server": server})
        self.api.delete("/rules/r")
        self.refused(404, "not-found", "GET", "/rules/r")

    def test_by_command_line(self):
        c, server = self.cluster, self.cluster.agent.name

        def tarn(*args):
            done = c.cli(*args)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout

        tarn("pool", "create", "cli", "--placement", "pack", "--migration-parallel", "3", "--memory-reserve", "1GiB")
        tarn("pool", "add", "cli", server)
        shown = json.loads(tarn("pool", "show", "cli", "-o", "json"))
        self.assertEqual((shown["placement"], shown["migration"]["parallel"], shown["memory_reserve"]), ("pack", 3, 1 << 30))
        self.assertIn(server, tarn("server", "list", "--filter", "pool=cli"))
        tarn("rule", "create", "both", "--pool", "cli", "--type", "together", "--vm-tag", "web", "--must")
        self.assertIn("together", tarn("rule", "list"))
        tarn("rule", "delete", "both")
        tarn("pool", "remove", "cli", server)
        tarn("pool", "delete", "cli")
