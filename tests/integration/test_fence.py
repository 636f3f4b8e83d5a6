# SPDX-License-Identifier: Apache-2.0
"""Servers' power through real fence agents: a simulated management controller (ipmi_sim), and fence agents that hang, lie or
are refused. Named here: server_fence, fence.run."""

import os
import stat
import subprocess
import threading
import time

import cluster
import lab

LAN = """name "bmc"
set_working_mc 0x20
  startlan 1
    addr {address} {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{chassis}"
  user 1 true "" "test" user 10 none md2 md5 straight
  user 2 true "admin" "{password}" admin 10 none md2 md5 straight
"""
COMMANDS = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""
CHASSIS = """#!/bin/sh
op=$1
shift
while [ $# -gt 0 ]; do
    case $op-$1 in
    get-power) echo "power:$(cat {power})" ;;
    get-*) echo "$1:0" ;;
    set-power) [ -e {power}.stuck ] || echo "$2" >{power}; shift ;;
    set-*) shift ;;
    esac
    shift
done
"""
PASSWORD = "s3cret-of-the-bmc"
PORT = 9623


def program(path, text):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


class Controller:
    """A management controller in the namespaces of a machine of the lab."""

    def __init__(self, l, name, port):
        self.dir = os.path.join(l.dir, "bmc")
        os.makedirs(self.dir + "/state", exist_ok=True)
        self.power, self.port = self.dir + "/power", port
        self.set("1")
        program(self.dir + "/chassis", CHASSIS.format(power=self.power))
        with open(self.dir + "/lan.conf", "w") as f:
            f.write(LAN.format(address=l.address("management", name), port=port, chassis=self.dir + "/chassis",
                               password=PASSWORD))
        with open(self.dir + "/commands", "w") as f:
            f.write(COMMANDS)
        self.process = subprocess.Popen(
            l.spaces[name].enter(["ipmi_sim", "-c", self.dir + "/lan.conf", "-f", self.dir + "/commands", "-s",
                                  self.dir + "/state", "-n"]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        self.fence = {"agent": "fence_ipmilan", "address": l.address("management", name), "port": port, "user": "admin",
                      "password": PASSWORD, "options": ["lanplus=1", "cipher=3"]}

    def set(self, value):
        with open(self.power, "w") as f:
            f.write(value)

    def get(self):
        with open(self.power) as f:
            return f.read().strip()

    def end(self):
        self.process.kill()
        self.process.wait()


class Fence(lab.LabCase):
    """Two servers: the pool is too small to be armed, so that only the fence lets a failover begin."""

    SERVERS, TEMPLATE, REPOSITORY = 2, False, False

    @classmethod
    def prepare(cls):
        l = cls.lab
        cls.bmc = Controller(l, "server2", PORT)
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
        super().tearDownClass()

    def setUp(self):
        self.bmc.set("1")
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
        for fence in ({"agent": "sh"}, {"agent": "fence_no_such_thing"}, {"agent": "fence_dummy", "options": ["action=on"]}):
            self.api.patch("/servers/server1", {"fence": dict(fence, address="192.0.2.1")})
            job, _ = self.fence("status")
            self.assertEqual(job["state"], "failed", fence)
        self.api.patch("/servers/server1", {"fence": {"agent": "", "options": []}})
        self.refused(409, "conflict", "POST", "/servers/server1/fence", {"action": "status"})
        self.refused(400, "invalid", "POST", "/servers/server1/fence", {"action": "explode"})

    def test_z_failover_of_two_servers(self):
        """Without the fence nothing happens; with it the guest starts at once, though two servers have no majority."""
        l = self.lab
        self.api.do("/repositories", {"name": "shared", "pool": "p", "path": l.dir + "/shared"})
        l.tiny_template(repository="shared")
        l.vm("v", pool="p", server="server1", repository="shared", ha={"enabled": True})
        self.assertTrue(self.api.get("/vms/v")["guarded"])
        stopped = threading.Event()

        def cable():  # what the controller switches
            while self.bmc.get() != "0" and not stopped.is_set():
                time.sleep(0.02)
            l.kill("server1")
        power = threading.Thread(target=cable)
        power.start()
        try:
            l.cut("server1")
            time.sleep(12)
            self.assertIn(l.vm_state("v"), ("running", "unknown"))
            self.assertFalse(self.api.get("/servers/server1")["cluster"]["gone"])
            began = time.monotonic()
            job, shown = self.fence("off")
            self.assertEqual((job["state"], shown), ("done", "off"), job)
            server2 = self.api.get("/servers/server2")["id"]
            cluster.wait_until(lambda: self.api.get("/vms/v")["server"] == server2 and l.vm_state("v") == "running", 60,
                               "the guest on the other server")
            print(f"\n  a pool of two, from the order to switch off: {time.monotonic() - began:.1f} s")
        finally:
            stopped.set()
            power.join()
