# SPDX-License-Identifier: Apache-2.0
"""Servers' power through real fence agents: management controllers (ipmi_sim, and Redfish over TLS) that are right, refuse, hang
and lie; and pools of two servers that live by them. Named here: server_fence, fence.run."""

import os
import time

import cluster
import lab
import power
from power import PASSWORD, program

class Fence(lab.LabCase):
    """Two servers: the pool is too small to be armed, so that only the fence lets a failover begin."""

    SERVERS, TEMPLATE, REPOSITORY = 2, False, False

    @classmethod
    def prepare(cls):
        l = cls.lab
        cls.bmc = power.Ipmi(l, "server2", "server1", 9623)
        cls.redfish = power.Redfish(l, "server2", "server1", 9643)
        bin_dir = l.dir + "/bin"
        os.makedirs(bin_dir, exist_ok=True)
        program(bin_dir + "/fence_hangs", "#!/bin/sh\nexec sleep 600\n")
        program(bin_dir + "/fence_says_all", "#!/bin/sh\necho \"ERROR: not with $(cat | grep password)\" >&2\nexit 1\n")
        for name in l.names:
            l.stop(name)
            l.daemon(name).start({"PATH": f"{bin_dir}:{os.environ['PATH']}", "TARN_TEST": "1", "TARN_FENCE_MS": "8000"})
            l.wait_online(name)
        cls.api.post("/pools", {"name": "p", "clustered": True})
        for name in l.names:
            cls.api.patch(f"/servers/{name}", {"addresses": [{"address": l.address("heartbeat", name),
                                                              "roles": ["heartbeat"]}]})
            cls.api.do("/pools/p/add", {"server": name})
        cluster.wait_until(lambda: cls.api.get("/pools/p").get("cluster", {}).get("quorate"), 60, "the cluster quorate")

    @classmethod
    def tearDownClass(cls):
        cls.bmc.end()
        cls.redfish.end()
        super().tearDownClass()

    def setUp(self):
        self.bmc.set("1")
        self.redfish.set("1")
        self.api.patch("/servers/server1", {"fence": self.bmc.fence})

    def fence(self, action):
        job = self.api.wait_job(self.api.post("/servers/server1/fence", {"action": action}))
        return job, self.api.get("/servers/server1").get("power")

    def test_status_off_on_reboot(self):
        # Off is what a server must survive here: the controller switches nothing.
        job, power = self.fence("status")
        self.assertEqual((job["state"], power), ("done", "on"))
        for action, then, left in (("on", "on", "1"), ("reboot", "on", "1")):
            job, power = self.fence(action)
            self.assertEqual((job["state"], power, self.bmc.get()), ("done", then, left), job)
        # It was seen to be off, and yet goes on: that is said, and nothing is started elsewhere.
        cluster.wait_until(lambda: not self.api.get("/servers/server1")["cluster"]["fenced"], 30, "its answer")
        alarms = [a for a in self.api.list("/alarms") if a["code"] == "fence.failed" and not a.get("cleared")]
        self.assertIn("gone on answering", alarms[0]["message"])
        done = self.cluster.cli("server", "fence", "server1", "--action", "status")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(PASSWORD, done.stdout + done.stderr)

    def test_wrong_password(self):
        self.api.patch("/servers/server1", {"fence": dict(self.bmc.fence, password="wrong-one")})
        job, _ = self.fence("off")
        self.assertEqual(job["state"], "failed")
        self.assertIn("password", job["error"])
        self.assertNotIn("wrong-one", str(job))
        self.assertEqual(self.bmc.get(), "1")
        alarms = [a for a in self.api.list("/alarms") if a["code"] == "fence.failed" and not a.get("cleared")]
        self.assertEqual(len(alarms), 1)

    def use_redfish(self, **more):
        self.api.patch("/servers/server1", {"fence": dict(self.redfish.fence, **more)})

    def test_redfish(self):
        self.use_redfish()
        for action, then, left in (("status", "on", "1"), ("off", "off", "0"), ("status", "off", "0"), ("on", "on", "1"),
                                   ("reboot", "on", "1")):
            job, shown = self.fence(action)
            self.assertEqual((job["state"], shown, self.redfish.get()), ("done", then, left), job)
        # The server goes on all the while: nobody believes that it was off.
        cluster.wait_until(lambda: not self.api.get("/servers/server1")["cluster"]["fenced"], 30, "its answer")
        self.assertFalse(self.api.get("/servers/server1")["cluster"]["gone"])

    def test_redfish_refuses(self):
        for more in ({"password": "wrong-one"}, {"options": []}, {"options": ["ssl_insecure=1", "systems_uri=/redfish/v1/None"]}):
            self.use_redfish(**more)  # wrong password, a certificate that nobody knows, another system
            job, _ = self.fence("off")
            self.assertEqual((job["state"], self.redfish.get()), ("failed", "1"), more)
            self.assertNotIn("wrong-one", str(job))
            self.assertEqual("ssl_insecure=1" in job["error"], more == {"options": []}, job["error"])
            self.assertFalse(self.api.get("/servers/server1")["cluster"]["fenced"])

    def test_redfish_hangs(self):
        self.use_redfish()
        self.redfish.hang(True)
        try:
            job, _ = self.fence("off")
            self.assertEqual(job["state"], "failed")
            self.assertIn("in time", job["error"])
        finally:
            self.redfish.hang(False)

    def test_redfish_lies(self):
        self.use_redfish(options=["ssl_insecure=1", "power_timeout=2"])
        self.redfish.stuck(True)
        try:
            job, _ = self.fence("off")
            self.assertEqual(job["state"], "failed")
            self.assertFalse(self.api.get("/servers/server1")["cluster"]["fenced"])
        finally:
            self.redfish.stuck(False)

    def test_hangs(self):
        self.api.patch("/servers/server1", {"fence": {"agent": "fence_hangs", "address": "192.0.2.1", "options": []}})
        began = time.monotonic()
        job, _ = self.fence("off")
        self.assertEqual(job["state"], "failed")
        self.assertIn("in time", job["error"])
        self.assertLess(time.monotonic() - began, 60)
        self.assertFalse(self.api.get("/servers/server1")["cluster"]["fenced"])

    def test_lies(self):
        """It says off, and its status says on."""
        with open(self.bmc.power + ".stuck", "w"):
            pass
        try:
            self.api.patch("/servers/server1", {"fence": dict(self.bmc.fence, agent="fence_dummy", options=[
                "status_file=" + self.lab.dir + "/never"])})
            program(self.lab.dir + "/bin/fence_lies", "#!/bin/sh\nif grep -q action=status; then exit 0; fi\nexit 0\n")
            self.api.patch("/servers/server1", {"fence": {"agent": "fence_lies", "address": "192.0.2.1", "options": []}})
            job, _ = self.fence("off")
            self.assertEqual(job["state"], "failed")
            self.assertIn("its status is on", job["error"])
            self.assertFalse(self.api.get("/servers/server1")["cluster"]["fenced"])
        finally:
            os.unlink(self.bmc.power + ".stuck")

    def test_repeats_the_password(self):
        self.api.patch("/servers/server1", {"fence": {"agent": "fence_says_all", "address": "192.0.2.1", "user": "u",
                                                      "password": PASSWORD, "options": []}})
        job, _ = self.fence("status")
        self.assertEqual(job["state"], "failed")
        self.assertNotIn(PASSWORD, str(job))
        with open(self.lab.daemon("server2").log) as f:
            self.assertNotIn(PASSWORD, f.read())
        shown = self.api.get("/servers/server1")
        self.assertNotIn("password", shown["fence"])

    def test_bad_input(self):
        for field, fence in (("agent", {"agent": "sh"}), ("agent", {"agent": "../../bin/sh"}), ("agent", {"agent": "fence_kdump"}),
                             ("options", {"options": ["action=on"]}), ("options", {"options": ["ipmitool_path=/tmp/x"]}),
                             ("options", {"options": ["ssh-options=-oProxyCommand=x"]}), ("user", {"user": "-oProxyCommand=x"}),
                             ("options", {"options": ["status_file=/etc/passwd"]}), ("address", {"address": "a -b"}),
                             ("password", {"password": "a\naction=on"})):
            error = self.refused(400, "invalid", "PATCH", "/servers/server1", {"fence": dict({"agent": "fence_ipmilan"}, **fence)})
            self.assertEqual(error["field"], "fence." + field)
        self.api.patch("/servers/server1", {"fence": {"agent": "fence_no_such_thing", "address": "192.0.2.1", "options": []}})
        job, _ = self.fence("status")
        self.assertEqual(job["state"], "failed")
        self.assertIn("there is no fence agent fence_no_such_thing on server", job["error"])
        self.assertNotIn("at all", job["error"], "others are there")
        # What is said of a password of asterisks comes to an end.
        self.api.patch("/servers/server1", {"fence": {"agent": "fence_says_all", "address": "192.0.2.1", "password": "*"}})
        job, _ = self.fence("status")
        self.assertEqual(job["state"], "failed")
        self.api.patch("/servers/server1", {"fence": {"agent": "", "options": []}})
        self.refused(409, "conflict", "POST", "/servers/server1/fence", {"action": "status"})
        self.refused(400, "invalid", "POST", "/servers/server1/fence", {"action": "explode"})

    def test_z_failover_of_two_servers(self):
        """Without the fence nothing happens; with it the guest starts at once, though two servers have no majority."""
        l = self.lab
        self.api.do("/repositories", {"name": "shared", "pool": "p", "path": l.dir + "/shared"})
        l.tiny_template(repository="shared")
        l.vm("v", pool="p", server="server1", repository="shared", ha={"enabled": True})
        vm = self.api.get("/vms/v")
        self.assertFalse(vm["guarded"])
        self.assertIn("has two servers", vm["guarded_reason"])
        self.bmc.connect()
        l.cut("server1")
        time.sleep(12)
        self.assertIn(l.vm_state("v"), ("running", "unknown"))
        self.assertFalse(self.api.get("/servers/server1")["cluster"]["gone"])
        self.assertEqual(self.bmc.get(), "1")
        began = time.monotonic()
        job, shown = self.fence("off")
        self.assertEqual((job["state"], shown), ("done", "off"), job)
        server2 = self.api.get("/servers/server2")["id"]
        cluster.wait_until(lambda: self.api.get("/vms/v")["server"] == server2 and l.vm_state("v") == "running", 60,
                           "the guest on the other server")
        print(f"\n  a pool of two, from the order to switch off: {time.monotonic() - began:.1f} s")


class TwoServers(lab.LabCase):
    """A pool of two with the policy to switch off by itself who is lost."""

    SERVERS, TEMPLATE, REPOSITORY = 2, False, False

    @classmethod
    def prepare(cls):
        l = cls.lab
        bin_dir = l.dir + "/bin"
        os.makedirs(bin_dir, exist_ok=True)
        program(bin_dir + "/fence_hangs", "#!/bin/sh\nexec sleep 600\n")
        program(bin_dir + "/fence_lies", "#!/bin/sh\nexit 0\n")
        cls.bmcs = {name: power.Ipmi(l, lab.MANAGER, name, 9630 + i) for i, name in enumerate(l.names)}
        cls.api.post("/pools", {"name": "p", "clustered": True})
        for name in l.names:
            l.stop(name)
            l.daemon(name).start({"PATH": f"{bin_dir}:{os.environ['PATH']}", "TARN_TEST": "1", "TARN_FENCE_MS": "8000"})
            l.wait_online(name)
            cls.bmcs[name].connect()
            cls.api.patch(f"/servers/{name}", {"fence": cls.bmcs[name].fence, "addresses": [
                {"address": l.address("heartbeat", name), "roles": ["heartbeat"]}]})
            cls.api.do("/pools/p/add", {"server": name})
        cluster.wait_until(lambda: cls.api.get("/pools/p").get("cluster", {}).get("quorate"), 60, "the cluster quorate")
        cls.api.do("/repositories", {"name": "shared", "pool": "p", "path": l.dir + "/shared"})
        l.tiny_template(repository="shared")
        l.vm("v", pool="p", server="server1", repository="shared", ha={"enabled": True}, restart_policy="always")

    @classmethod
    def tearDownClass(cls):
        for bmc in cls.bmcs.values():
            bmc.end()
        super().tearDownClass()

    def alarms(self, code):
        return [a["message"] for a in self.api.list("/alarms") if a["code"] == code and a["active"]]

    def server_of_v(self):
        vm = self.api.get("/vms/v")
        return next((n for n in self.lab.names if self.api.get(f"/servers/{n}")["id"] == vm["server"]), None)

    def wait_alarm(self, code, words):
        cluster.wait_until(lambda: any(words in message for message in self.alarms(code)), 90, f"the alarm {code}: {words}")

    def test_1_by_hand(self):
        """The default, and what is said about it."""
        self.assertEqual(self.api.get("/pools/p")["fencing"], "manual")
        self.assertEqual(self.api.get("/pools/p")["cluster"]["proof"], "none")
        self.api.patch("/pools/p", {"description": "looked at"})
        self.assertIn("two servers cannot tell", self.alarms("pool.unprotected")[0])
        self.lab.cut("server1")
        self.wait_alarm("server.fence-needed", "tarn server fence server1 --action off")
        time.sleep(5)
        self.assertEqual(self.bmcs["server1"].get(), "1")
        self.lab.heal("server1")
        self.lab.wait_online("server1")
        cluster.wait_until(lambda: not self.alarms("server.fence-needed"), 30, "no alarm")
        self.api.patch("/pools/p", {"fencing": "auto"})
        self.assertEqual(self.api.get("/pools/p")["cluster"]["proof"], "fence")
        self.assertEqual(self.alarms("pool.unprotected"), [])

    def test_2_only_the_manager_has_lost_it(self):
        """The other server sees it: it is not switched off, whatever the manager believes."""
        self.lab.cut("server1", "management")
        cluster.wait_until(lambda: self.api.get("/servers/server1")["state"] == "offline", 60, "the manager has noticed")
        time.sleep(10)
        self.assertEqual(self.bmcs["server1"].get(), "1")
        self.assertFalse(self.api.get("/servers/server1")["cluster"]["gone"])
        self.lab.heal("server1")
        self.lab.wait_online("server1")
        self.lab.wait_vm("v", "running")
        self.assertEqual(self.server_of_v(), "server1")

    def test_3_heartbeat_alone(self):
        """They do not see each other, and the manager sees both: nothing happens to either."""
        self.lab.cut("server1", "heartbeat")
        self.wait_alarm("pool.quorum", "do not see each other")
        time.sleep(8)
        self.assertEqual([bmc.get() for bmc in self.bmcs.values()], ["1", "1"])
        self.lab.heal("server1")
        cluster.wait_until(lambda: not self.alarms("pool.quorum"), 60, "no alarm")
        self.assertEqual(self.server_of_v(), "server1")

    def test_4_lost(self):
        """Its controller refuses, hangs and lies, and nothing is started; then it does what it says."""
        fence = self.bmcs["server1"].fence
        self.api.patch("/servers/server1", {"fence": dict(fence, password="wrong-one")})
        self.lab.cut("server1")
        self.wait_alarm("fence.failed", "password")
        self.api.patch("/servers/server1", {"fence": {"agent": "fence_hangs", "address": "192.0.2.1", "options": []}})
        self.wait_alarm("fence.failed", "in time")
        self.api.patch("/servers/server1", {"fence": {"agent": "fence_lies", "address": "192.0.2.1", "options": []}})
        self.wait_alarm("fence.failed", "its status is on")
        shown = self.api.get("/servers/server1")["cluster"]
        self.assertEqual((shown["gone"], shown["fenced"], self.bmcs["server1"].get()), (False, False, "1"))
        self.assertEqual(self.server_of_v(), "server1")
        self.api.patch("/servers/server1", {"fence": fence})
        cluster.wait_until(lambda: self.server_of_v() == "server2" and self.lab.vm_state("v") == "running", 60,
                           "the guest on the other server")
        self.assertEqual(self.bmcs["server1"].get(), "0")
        self.assertEqual(self.alarms("fence.failed"), [])

    def test_5_back_and_the_other(self):
        """It comes back, and the other one is lost: seconds until the guest runs again."""
        self.bmcs["server1"].set("1")
        self.lab.power_on("server1")
        self.lab.cut("server1")
        # Somebody has switched it on while it is cut off still: it does not restart what may run elsewhere.
        time.sleep(8)
        self.assertEqual(self.lab.daemon("server1").guests(), {})
        self.lab.heal()
        self.lab.wait_online("server1")
        cluster.wait_until(lambda: self.api.get("/pools/p")["cluster"]["quorate"], 60, "the cluster quorate")
        self.assertFalse(self.api.get("/servers/server1")["cluster"]["gone"])
        self.assertEqual(self.server_of_v(), "server2")
        began = time.monotonic()
        self.lab.kill("server2")
        cluster.wait_until(lambda: self.server_of_v() == "server1" and self.lab.vm_state("v") == "running", 60,
                           "the guest on the other server")
        print(f"\n  a pool of two, from a server's end until its guest ran elsewhere: {time.monotonic() - began:.1f} s")
        self.assertEqual(self.bmcs["server2"].get(), "0")
        self.bmcs["server2"].set("1")
        self.lab.power_on("server2")
        self.lab.wait_online("server2")
