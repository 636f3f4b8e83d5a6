# SPDX-License-Identifier: Apache-2.0
"""What the web console asks of the manager beside lists: search, summary, alarms, jobs that can be undone, figures over time.

Named here: search, summary, alarm_list, alarm_show, alarm_acknowledge, job_undo, vm_metrics, server_metrics."""

import cluster


class Search(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def find(self, q, **query):
        return [item["name"] for item in self.api.get("/search", q=q, **query)["items"]]

    def test_search(self):
        for name in ("finder", "pathfinder", "find-me"):
            self.api.post("/users", {"name": name, "password": "longenough", "full_name": f"Mx {name} Ünïcode & <b>"})
        self.assertEqual(self.find("FIND"), ["find-me", "finder", "pathfinder"])
        self.assertEqual(self.find("finder", limit=1), ["finder"])
        self.assertEqual(self.api.get("/search", q="find", limit=1)["totals"], [{"kind": "user", "total": 3}])
        item = self.api.get("/search", q="Ünïcode & <B>")["items"][0]
        self.assertEqual((item["kind"], item["detail"]), ("user", "Mx find-me Ünïcode & <b>"))
        user = self.api.get("/users/finder")
        self.assertEqual(self.find(user["id"][:13])[0], "finder" if len(self.find(user["id"][:13])) == 1 else "find-me")
        self.api.patch("/users/finder", {"full_name": "Renamed"})
        self.assertEqual(self.find("renamed"), ["finder"])
        self.api.delete("/users/finder")
        self.assertEqual(self.find("renamed"), [])

    def test_what_is_refused(self):
        self.assertEqual(self.refused(400, "invalid", "GET", "/search")["field"], "q")
        self.assertEqual(self.refused(400, "invalid", "GET", "/search?q=a&limit=0")["field"], "limit")
        self.assertEqual(self.refused(400, "invalid", "GET", "/search?q=a&limit=x")["field"], "limit")
        self.refused(400, "invalid", "GET", "/search?q=a&depth=1")
        self.assertEqual(self.api.copy("x").raw("GET", "/search?q=a").status, 401)

    def test_cli(self):
        done = self.cluster.cli("search", "admin", "--limit", "3")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"user\s+admin")
        self.assertEqual(self.cluster.cli("search", "admin", "--limit", "0").returncode, 2)


class Summary(cluster.ClusterCase):
    def counts(self, what):
        return {s["state"]: s["count"] for s in self.api.get("/summary")[what]}

    def test_figures_follow(self):
        c = self.cluster
        server = self.api.get("/servers/" + c.agent.name)
        summary = self.api.get("/summary")
        self.assertEqual(summary["servers"], [{"state": "online", "count": 1}])
        self.assertEqual(summary["repositories"], [{"state": "ready", "count": 1}])
        self.assertEqual(summary["jobs"], [])
        self.assertEqual(summary["capacity"]["cpus"], server["hardware"]["cpus"])
        self.assertEqual(summary["capacity"]["memory"], server["hardware"]["memory"])
        self.assertGreater(summary["capacity"]["storage"], summary["capacity"]["storage_free"])
        vm = c.vm("counted", cpus=2)
        c.vm("idle", start=False)
        self.assertEqual(self.counts("vms"), {"running": 1, "stopped": 1})
        capacity = self.api.get("/summary")["capacity"]
        self.assertEqual((capacity["cpus_allocated"], capacity["memory_allocated"]), (2, vm["memory"]))
        top = cluster.wait_until(lambda: self.api.get("/summary")["top_memory"], 20, "a sample of the guest")
        self.assertEqual([(t["vm"], t["name"], t["server"]) for t in top], [(vm["id"], "counted", server["id"])])
        self.assertGreater(top[0]["value"], 1 << 20)
        self.assertGreater(self.api.get("/summary")["capacity"]["memory_used"], 1 << 20)
        self.api.do("/vms/counted/kill")
        self.assertEqual(self.counts("vms"), {"stopped": 2})
        self.assertEqual(self.api.get("/summary")["capacity"]["cpus_allocated"], 0)
        self.api.post("/pools", {"name": "some"})
        self.assertEqual(self.api.get("/summary", pool="some")["vms"], [])
        self.api.do("/pools/some/add", {"server": c.agent.name})
        self.assertEqual([self.api.get("/summary", pool="some")[k] for k in ("servers", "vms")],
                         [[{"state": "online", "count": 1}], [{"state": "stopped", "count": 2}]])
        self.assertEqual(self.api.get("/summary", pool="some")["capacity"]["cpus"], server["hardware"]["cpus"])
        self.refused(404, "not-found", "GET", "/summary?pool=none")
        done = c.cli("summary", "--pool", "some")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("capacity", done.stdout)
        c.restart_manager()
        self.assertEqual(self.counts("vms"), {"stopped": 2})


class Alarms(cluster.ClusterCase):
    def active(self, code):
        return [a for a in self.api.list("/alarms", filter="active=true") if a["code"] == code]

    def test_a_guest_that_crashes(self):
        c = self.cluster
        vm = c.vm("crasher")
        cluster.kill_pid(c.agent.guests()[vm["id"]])
        c.wait_vm("crasher", "crashed")
        alarm, = self.active("vm.crashed")
        self.assertEqual((alarm["object"]["name"], alarm["severity"], alarm["cleared"]), ("crasher", "error", ""))
        self.assertEqual(self.api.get("/summary")["alarms"], [{"state": "error", "count": 1}])
        self.api.post("/users", {"name": "looker", "password": "longenough", "role": "viewer"})
        looker = c.manager.client().sign_in("looker", "longenough")
        self.assertEqual(looker.get("/alarms/" + alarm["id"])["message"], alarm["message"])
        self.assertEqual(looker.raw("POST", f"/alarms/{alarm['id']}/acknowledge").status, 403)
        self.assertEqual(self.api.post(f"/alarms/{alarm['id']}/acknowledge")["acknowledged_by"], "admin")
        done = c.cli("alarm", "list", "--filter", "active=true")
        self.assertIn("crasher", done.stdout)
        self.assertEqual(c.cli("alarm", "ack", alarm["id"]).returncode, 0)
        c.restart_manager()
        self.assertEqual(len(self.active("vm.crashed")), 1)
        self.api.do("/vms/crasher/start")
        self.assertEqual(self.active("vm.crashed"), [])
        self.assertTrue(self.api.get("/alarms/" + alarm["id"])["cleared"])
        self.api.do("/vms/crasher/kill")

    def test_a_server_that_is_away(self):
        c = self.cluster
        c.agent.stop()
        alarm = cluster.wait_until(lambda: self.active("server.offline"), 40, "an alarm")[0]
        self.assertEqual(alarm["object"]["name"], c.agent.name)
        c.agent.start()
        c.wait_online(c.agent.name)
        cluster.wait_until(lambda: not self.active("server.offline"), 20, "its end")


class Undo(cluster.ClusterCase):
    def last_job(self, kind):
        return next(j for j in self.api.get("/jobs", filter="kind=" + kind)["items"])

    def undo(self, kind):
        job = self.api.post(f"/jobs/{self.last_job(kind)['id']}/undo")
        cluster.wait_until(lambda: self.api.get("/jobs/" + job["id"])["state"] == "done", 60, "the undo")

    def test_undo(self):
        c = self.cluster
        c.vm("undone")
        self.assertTrue(self.last_job("vm.create")["undoable"])
        self.api.do("/vms/undone/suspend")
        self.assertFalse(self.last_job("vm.create")["undoable"])
        self.undo("vm.suspend")
        self.assertEqual(c.vm_state("undone"), "running")
        undone, undoing = self.last_job("vm.suspend"), self.last_job("vm.resume")
        self.assertEqual((undone["undone_by"], undoing["undoes"]), (undoing["id"], undone["id"]))
        self.refused(409, "conflict", "POST", f"/jobs/{undone['id']}/undo")
        done = c.cli("job", "undo", undoing["id"])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(c.vm_state("undone"), "suspended")
        self.api.do("/vms/undone/kill")
        self.api.do("/vms", {"name": "second", "template": "tiny", "display": "none", "start": True}, 120)
        disks = len(self.api.list("/disks"))
        self.undo("vm.create")
        self.assertEqual(self.api.raw("GET", "/vms/second").status, 404)
        self.assertEqual(len(c.agent.guests()), 0)
        self.assertLessEqual(len(self.api.list("/disks")), disks)
        self.refused(404, "not-found", "POST", "/jobs/no-such-job/undo")


class Metrics(cluster.ClusterCase):
    LISTS = ("times", "cpu", "memory", "disk_read", "disk_write")

    def points(self, path, range="1h"):
        got = self.api.get(path + "/metrics", range=range)
        self.assertEqual({len(got[name]) for name in self.LISTS}, {len(got["times"])})
        return got

    def test_figures_over_time(self):
        c = self.cluster
        c.vm("charted")
        server = "/servers/" + c.agent.name
        got = cluster.wait_until(lambda: len(self.points("/vms/charted")["times"]) >= 2 and self.points("/vms/charted"), 60, "points")
        self.assertEqual(got["step"], 10)
        self.assertEqual(got["times"][1] - got["times"][0], 10)
        self.assertGreater(got["memory"][0], 1 << 20)
        self.assertEqual(got["net_send"], [], "user networking does not tell")
        self.assertNotIn("net_send", self.api.get("/vms/charted/stats"))
        self.assertGreater(self.points(server)["memory"][0], 1 << 26)
        self.assertEqual(self.points(server, "24h")["step"], 120)
        c.agent.stop()
        cluster.wait_until(lambda: not c.online(c.agent.name), 20, "offline")
        self.refused(503, "unavailable", "GET", "/vms/charted/metrics")
        c.agent.start()
        c.wait_online(c.agent.name)
        after = self.points("/vms/charted")
        self.assertEqual(after["times"][:2], got["times"][:2], "what was known is known after a restart")
        done = c.cli("vm", "metrics", "charted", "--range", "24h")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, "step|TIME")  # of two minutes: there may be none yet
        self.refused(400, "invalid", "GET", "/vms/charted/metrics?range=7d")
        self.refused(404, "not-found", "GET", "/vms/nobody/metrics")
        self.refused(404, "not-found", "GET", "/servers/nobody/metrics")


class CommandLine(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def test_ids_by_their_beginning(self):
        cli = self.cluster.cli
        for name in ("prefix-one", "prefix-two", "cafe"):
            self.api.post("/users", {"name": name, "password": "longenough"})
        one = self.api.get("/users/prefix-one")["id"]
        # An identifier begins with its time: any of the others may share the most of it, whichever came in between.
        others = [user["id"] for user in self.api.list("/users") if user["id"] != one]
        enough = one[:max([4] + [next(n for n in range(36) if one[n] != other[n]) + 1 for other in others])]
        self.assertEqual(cli("user", "show", enough, "-o", "name").stdout, "prefix-one\n")
        self.assertEqual(cli("user", "show", "cafe", "-o", "name").stdout, "cafe\n", "a name goes first")
        many = cli("user", "rm", one[:4])
        self.assertEqual(many.returncode, 2, many)
        self.assertIn("give more of it", many.stderr)
        self.assertEqual(cli("user", "show", "0000beef").returncode, 3)
        self.assertEqual(cli("user", "rm", enough).returncode, 0)
        self.assertNotIn("prefix-one", cli("users", "ls", "-o", "name").stdout)

    def test_what_is_refused_is_said_in_words(self):
        self.api.post("/users", {"name": "mere", "password": "longenough", "role": "viewer"})
        token = self.cluster.manager.client().sign_in("mere", "longenough").token
        self.api.post("/pools", {"name": "p"})
        for args in (("vm", "console", "none"), ("event", "list", "--follow"), ("stream",)):
            done = self.cluster.cli(*args, token="nonsense", timeout=30)
            self.assertEqual(done.returncode, 4, (args, done.stderr))
        done = self.cluster.cli("vm", "console", "none", token=token, timeout=30)
        self.assertEqual((done.returncode, "none" in done.stderr), (3, True), done.stderr)
        size = self.cluster.cli("vm", "create", "small", "--memory", "128")
        self.assertEqual(size.returncode, 2)
        self.assertIn("16 MiB", size.stderr)
        self.assertIn("did you mean 128MiB?", size.stderr)
        self.assertIn("replaces the whole list", " ".join(self.cluster.cli("vm", "set", "--help").stdout.split()))


class ConsoleRefused(cluster.ClusterCase):
    def test_a_viewer_is_told(self):
        self.cluster.vm("watched")
        self.api.post("/users", {"name": "viewer", "password": "longenough", "role": "viewer"})
        token = self.cluster.manager.client().sign_in("viewer", "longenough").token
        done = self.cluster.cli("vm", "console", "watched", token=token, timeout=30)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("vm.use", done.stderr)

    def test_a_taken_name_is_said_before_anything_is_sent(self):
        uploads = len(self.api.list("/uploads"))
        done = self.cluster.cli("template", "import", "tiny", "--disk", cluster.CLI)
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn("already", done.stderr)
        self.assertEqual(self.cluster.cli("template", "import", "-x-", "--disk", cluster.CLI).returncode, 2)
        self.assertEqual(len(self.api.list("/uploads")), uploads)
