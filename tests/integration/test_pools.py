# SPDX-License-Identifier: Apache-2.0
"""Server pools, their members and placement rules; repositories that several servers have.

Named here: repository_present, repository_withdraw, pool_list, pool_create, pool_show, pool_change, pool_delete, pool_add,
pool_remove, rule_list, rule_create, rule_show, rule_change, rule_delete."""

import json
import os

import cluster
import rest


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


def bind(agent, instead, path):
    """Starts an agent for which another directory is mounted at the path."""
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    agent.spawn(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", instead, path, cluster.AGENT,
                 "--state-dir", agent.state])


class Shared(cluster.ClusterCase):
    """Repositories that several servers have. All agents run on one machine, so that a path is the same storage for all of
    them, but for the one that sees another directory there."""

    AGENTS = 2
    REPOSITORY, TEMPLATE = False, False

    def test_one_repository_on_two_servers(self):
        c, path = self.cluster, self.cluster.dir + "/shared"
        self.api.do("/repositories", {"name": "shared", "servers": ["server1", "server2"], "path": path})
        shown = self.api.get("/repositories/shared")
        self.assertEqual((shown["state"], shown["server"], len(shown["servers"])), ("ready", "", 2))
        self.assertTrue(all(p["usable"] for p in shown["presented"]), shown)
        self.assertEqual([f for f in os.listdir(path) if "proof" in f], [], "what proved it is taken away")
        self.api.do("/disks", {"name": "one", "size": 4 << 20})
        c.agents[0].stop()
        cluster.wait_until(lambda: not c.online("server1"), 20, "server1 offline")
        self.api.do("/disks", {"name": "two", "size": 4 << 20})
        self.api.remove("/disks/one")
        data = os.urandom(1 << 20)
        upload = self.api.upload("bytes", data, "shared")
        with open(f"{path}/uploads/{upload}", "rb") as f:
            self.assertEqual(f.read(), data)
        self.api.remove("/uploads/" + upload)
        c.agents[0].start()
        c.wait_online("server1")
        self.api.do("/repositories/shared/withdraw", {"server": "server1"})
        self.assertEqual(len(self.api.get("/repositories/shared")["servers"]), 1)
        self.refused(409, "conflict", "POST", "/repositories/shared/withdraw", {"server": "server2"})
        self.api.do("/repositories/shared/present", {"server": "server1"})
        self.refused(409, "conflict", "POST", "/repositories/shared/present", {"server": "server1"})
        self.api.remove("/disks/two")
        self.api.remove("/repositories/shared")
        self.assertEqual(os.listdir(path), [])

    def test_a_path_that_is_not_the_same_storage(self):
        c = self.cluster
        path, other = c.dir + "/place", c.dir + "/another-place"
        os.mkdir(path)
        os.mkdir(other)
        third = c.add_agent("third", start=False)
        bind(third, other, path)
        c.wait_online("third")
        with self.assertRaises(rest.JobFailed) as failed:
            self.api.do("/repositories", {"name": "place", "servers": ["server1", "third"], "path": path})
        self.assertIn("is not the storage that server server1 has there", str(failed.exception))
        self.refused(404, "not-found", "GET", "/repositories/place")
        self.assertEqual((os.listdir(path), os.listdir(other)), ([], []), "nothing is left of it")
        self.api.do("/repositories", {"name": "place", "server": "server1", "path": path})
        with open(path + "/tarn-repository.json") as mark, open(other + "/tarn-repository.json", "w") as copy:
            copy.write(mark.read())
        with self.assertRaises(rest.JobFailed) as failed:
            self.api.do("/repositories/place/present", {"server": "third"})
        self.assertIn("but a copy of it", str(failed.exception))
        self.assertEqual(os.listdir(other), ["tarn-repository.json"], "a storage that is refused is left alone")
        self.api.post("/pools", {"name": "of-two"})
        self.api.remove("/repositories/place")
        self.api.do("/pools/of-two/add", {"server": "server1"})
        self.api.do("/repositories", {"name": "place", "pool": "of-two", "path": path})
        with self.assertRaises(rest.JobFailed):
            self.api.do("/pools/of-two/add", {"server": "third"})
        self.assertEqual(self.api.get("/servers/third")["pool"], "")
        self.api.do("/pools/of-two/add", {"server": "server2"})
        self.assertEqual(len(self.api.get("/repositories/place")["servers"]), 2)
        self.api.do("/pools/of-two/remove", {"server": "server1"})
        self.refused(409, "in-use", "POST", "/pools/of-two/remove", {"server": "server2"})
        self.api.remove("/repositories/place")
        self.api.do("/pools/of-two/remove", {"server": "server2"})
        self.api.delete("/pools/of-two")
        third.stop()
        c.agents.remove(third)

class Real(cluster.ClusterCase):
    """Real guests on a repository that two servers have."""

    AGENTS = 2
    REPOSITORY, TEMPLATE = False, False

    @classmethod
    def prepare(cls):
        cls.api.post("/pools", {"name": "real"})
        for name in ("server1", "server2"):
            cls.api.do("/pools/real/add", {"server": name})
        cls.api.do("/repositories", {"name": "shared", "pool": "real", "path": cls.cluster.dir + "/shared"})
        cls.cluster.tiny_template()

    def where(self, name):
        key = self.api.get("/vms/" + name)["server"]
        return next((s["name"] for s in self.api.list("/servers") if s["id"] == key), "")

    def runs_on(self, vm):
        key = self.api.get("/vms/" + vm)["id"]
        return [agent.name for agent in self.cluster.agents if key in agent.guests()]

    def test_a_stopped_guest_starts_on_the_other_server(self):
        c = self.cluster
        c.vm("walker", disks=[{"size": 16 << 20}])
        first = self.where("walker")
        self.assertEqual(self.runs_on("walker"), [first])
        with c.console("walker") as console:
            console.prompt()
            self.assertEqual(console.command("echo carried > /dev/vda && sync")[1], 0)
        self.api.do("/vms/walker/kill")
        other = "server2" if first == "server1" else "server1"
        self.api.post("/rules", {"name": "away", "pool": "real", "type": "on-servers", "must": True, "vms": ["walker"], "servers": [other]})
        self.api.do("/vms/walker/start")
        self.assertEqual((self.where("walker"), self.runs_on("walker")), (other, [other]))
        with c.console("walker") as console:
            console.prompt()
            self.assertIn("carried", console.command("head -c 7 /dev/vda")[0])
        self.api.delete("/rules/away")
        # It moves while it runs when its server is to be empty.
        self.api.do(f"/servers/{other}/maintenance", {"on": True}, timeout=120)
        self.assertEqual((self.where("walker"), self.runs_on("walker")), (first, [first]))
        self.api.do(f"/servers/{other}/maintenance", {"on": False})
        self.refused(409, "in-use", "POST", "/pools/real/remove", {"server": first})
        self.api.do("/vms/walker/kill")
        self.api.do("/pools/real/remove", {"server": first})
        self.assertEqual(self.where("walker"), "", "it stays in the pool, on no server")
        self.api.do("/vms/walker/start")
        self.assertEqual(self.runs_on("walker"), [other])
        self.api.do("/vms/walker/kill")
        self.api.remove("/vms/walker")
