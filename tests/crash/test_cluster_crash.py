# SPDX-License-Identifier: Apache-2.0
"""The manager is killed while the cluster of a pool changes ("pool.cluster") and while a guest of a lost server is restarted
("vm.recover"), with real corosync and a real guest. Each commit of both is in src/core/cluster_crash_test.c; here are some."""

import os

import cluster
import lab
import rest

POINTS = int(os.environ.get("CRASH_POINTS", "2"))
CUT_OFF = (OSError, rest.http.client.HTTPException, rest.ApiError)
SLOW = 60


class ManagerCrash(lab.LabCase):
    SERVERS, TEMPLATE, REPOSITORY = 3, False, False

    @classmethod
    def prepare(cls):
        l = cls.lab
        cls.api.post("/pools", {"name": "p", "clustered": True})
        for name in l.names:
            cls.api.patch(f"/servers/{name}", {"addresses": [{"address": l.address("heartbeat", name), "roles": ["heartbeat"]}]})
            cls.api.do("/pools/p/add", {"server": name})
        cls.api.do("/repositories", {"name": "shared", "pool": "p", "path": l.dir + "/shared"})
        l.tiny_template(repository="shared", cpus=1, memory=96 << 20)

    # ---- the manager ----

    def restart(self, crash_after=None):
        """False if it has ended again already."""
        manager = self.lab.manager
        if manager.running():
            manager.stop()
        self.lab.api.close()
        manager.start({"TARN_TEST": "1", "TARN_CRASH_AFTER_COMMITS": str(crash_after)} if crash_after else None,
                      wait=not crash_after)
        try:
            if crash_after:
                manager.wait_ready()
            self.lab.connect()
            type(self).api = self.lab.api
            cluster.wait_until(lambda: self.lab.connected() == len(self.alive()), SLOW, "every agent's connection")
        except (AssertionError, *CUT_OFF):
            return not crash_after and self.fail("the manager does not start")
        return manager.running()

    def alive(self):
        return [name for name in self.lab.names if self.lab.daemon(name).running()]

    def settle(self):
        def ended():
            return not [j for j in self.api.get("/jobs", limit=50)["items"] if j["state"] not in rest.ENDED]
        cluster.wait_until(ended, SLOW, "the end of every job")

    def clusters(self):
        return {name: self.api.get(f"/servers/{name}").get("cluster", {}) for name in self.lab.names}

    def wait_cluster(self, servers):
        """As many servers, each of which sees the others, and armed if they are three."""
        def whole():
            c = [c for c in self.clusters().values() if c.get("pool")]
            return len(c) == servers and all(x["quorate"] and len(x["members"]) == servers and not x["gone"] and
                                             x["armed"] == (servers == 3) for x in c)
        cluster.wait_until(whole, SLOW, f"a cluster of {servers}")

    def points(self, what, request, after, before=lambda: None):
        """Kills it in the middle of what the request begins, each time later."""
        reached, n, ended = [], 1, 0
        while len(reached) < POINTS and ended < (2 if reached else 5) and n < 80:
            n += 2 if reached else 1
            before()
            mark = self.api.get("/jobs", limit=1)["items"][0]["id"]
            if not self.restart(n):
                self.restart()
                self.settle()
                continue
            try:
                request()
                cluster.wait_until(lambda: not self.lab.manager.running() or self.quiet(mark), SLOW, "crash or end", 0.02)
            except CUT_OFF:
                pass
            crashed = not self.lab.manager.running()
            self.restart()
            self.settle()
            after()
            if crashed:
                reached.append(n)
            elif not reached:
                n -= 2  # this start needed fewer commits than the last
            ended += not crashed
        print(f"  {what}: crashed at {reached}", flush=True)
        self.assertTrue(reached)

    def quiet(self, mark):
        """Something has been done since, and nothing is under way."""
        try:
            jobs = self.api.get("/jobs", limit=20)["items"]
        except CUT_OFF:
            return False
        return jobs[0]["id"] != mark and all(j["state"] in rest.ENDED for j in jobs) and self.done(jobs)

    # ---- the tests ----

    def test_1_cluster_changes(self):
        state = {"servers": 3}

        def request():
            state["servers"] = 5 - state["servers"]
            self.done = lambda jobs: jobs[0]["kind"] == "pool.cluster"
            self.api.post("/pools/p/" + ("add" if state["servers"] == 3 else "remove"), {"server": "server3"})

        def after():
            member = bool(self.api.get("/servers/server3")["pool"])  # or the request was never heard
            state["servers"] = 3 if member else 2
            self.wait_cluster(state["servers"])
        self.wait_cluster(3)
        self.points("pool.cluster", request, after)
        if state["servers"] == 2:
            self.api.do("/pools/p/add", {"server": "server3"})
        self.wait_cluster(3)

    def test_2_recovery(self):
        l = self.lab
        l.vm("v", pool="p", server="server1", repository="shared", ha={"enabled": True, "max_tries": 5})
        vm = self.api.get("/vms/v")["id"]
        state = {}

        def before():
            state["lost"] = self.where()

        def request():
            self.done = lambda jobs: jobs[0]["kind"] == "vm.recover"
            l.kill(state["lost"])

        def after():
            cluster.wait_until(lambda: self.api.get("/vms/v")["state"] == "running" and self.where() != state["lost"], SLOW,
                               "the guest elsewhere")
            there = [pid for name in l.names for pid in self.guest_on(name, vm)]
            self.assertEqual(len(there), 1)
            l.power_on(state["lost"])
            l.wait_online(state["lost"])
            self.wait_cluster(3)
            self.assertEqual([pid for name in l.names for pid in self.guest_on(name, vm)], there)
        self.wait_cluster(3)
        self.points("vm.recover", request, after, before)

    def where(self):
        server = self.api.get("/vms/v")["server"]
        return next((n for n in self.lab.names if self.api.get(f"/servers/{n}")["id"] == server), None)

    def guest_on(self, name, vm):
        found = []
        for pid in self.lab.spaces[name].processes():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    args = f.read().split(b"\0")
            except OSError:
                continue
            if b"-uuid" in args and vm.encode() in args and not cluster.gone(pid):
                found.append(pid)
        return found
