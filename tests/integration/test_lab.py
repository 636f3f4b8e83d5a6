# SPDX-License-Identifier: Apache-2.0
"""The lab itself: what is cut is cut, what is killed is dead, and nothing is left behind, however it ends."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import cluster
import lab
import rest
import space

COMMAND = os.path.join(cluster.ROOT, "tools/lab")


def reaches(l, name, address, timeout=1):
    """Whether a machine's packets come to an address and back: the refusal of a closed port is an answer."""
    code = ("import socket,sys\ns=socket.socket()\ns.settimeout(float(sys.argv[2]))\n"
            "print(s.connect_ex((sys.argv[1], 9)))")
    said = l.run(name, ["/usr/bin/python3", "-c", code, address, str(timeout)]).stdout.strip()
    return said == "111"


class Networks(lab.LabCase):
    SERVERS, TEMPLATE, REPOSITORY = 3, False, False

    def tearDown(self):
        self.lab.heal()

    def sees(self, a, b, network):
        return reaches(self.lab, a, self.lab.address(network, b))

    def test_the_host_reaches_the_manager_alone(self):
        self.assertEqual(self.api.get("/about")["product"], "Tarn")
        with socket.socket() as s:
            s.settimeout(0.5)
            self.assertNotEqual(s.connect_ex((self.lab.address("heartbeat", "server1"), 9)), 111)

    def test_one_network_is_cut(self):
        self.lab.cut("server2", "heartbeat")
        self.assertEqual(self.lab.cuts(), {"server2": {"heartbeat": "cut"}})
        self.assertFalse(self.sees("server1", "server2", "heartbeat"))
        self.assertTrue(self.sees("server1", "server3", "heartbeat"))
        self.assertTrue(self.sees("server1", "server2", "migration"))
        self.assertTrue(self.cluster.online("server2"))
        self.lab.heal("server2")
        self.assertTrue(self.sees("server1", "server2", "heartbeat"))

    def test_a_server_is_cut_off(self):
        self.lab.cut("server3")
        cluster.wait_until(lambda: not self.cluster.online("server3"), 60, "server3 offline")
        self.assertTrue(self.cluster.online("server1"))
        self.lab.heal("server3")
        self.lab.wait_online("server3")

    def test_halves(self):
        self.lab.split([["manager", "server1"], ["server2", "server3"]], "heartbeat")
        self.assertFalse(self.sees("server1", "server2", "heartbeat"))
        self.assertTrue(self.sees("server2", "server3", "heartbeat"))
        self.assertTrue(self.sees("server1", "server2", "migration"))
        self.lab.heal()
        self.assertTrue(self.sees("server1", "server2", "heartbeat"))
        self.assertEqual(self.lab.cuts(), {})

    def test_kill_and_power_on(self):
        l = self.lab
        old = l.daemon("server1").pid
        sleeper = subprocess.Popen(l.spaces["server1"].enter(["sleep", "600"]), start_new_session=True)
        l.hang("server1")
        l.kill("server1")
        self.assertEqual(l.spaces["server1"].processes(), [])
        self.assertEqual(sleeper.wait(5), -signal.SIGKILL)
        self.assertTrue(cluster.gone(old))
        self.assertTrue(l.daemon("server2").running())
        cluster.wait_until(lambda: not self.cluster.online("server1"), 30, "server1 offline")
        l.power_on("server1")
        l.wait_online("server1")

    def test_run_is_private(self):
        self.assertEqual(self.lab.run("server2", ["hostname"]).stdout.strip(), "server2")
        devices = {self.lab.run(name, ["stat", "-c", "%d", "/run"]).stdout for name in ("server1", "server2")}
        devices.add(f"{os.stat('/run').st_dev}\n")
        self.assertEqual(len(devices), 3)


class Command(cluster.unittest.TestCase):
    """tools/lab as a person uses it."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="tarn-c-")
        self.home = os.path.join(self.dir, "lab")
        self.env = dict(os.environ, TARN_LAB=self.home, TARN_BUILD=cluster.BUILD, LC_ALL="C.UTF-8")
        self.seen = []

    def tearDown(self):
        self.lab("end")
        self.assertFalse(os.path.exists(self.home))
        self.assertFalse(os.path.exists(self.home + ".lock"))
        shutil.rmtree(self.dir)

    def lab(self, *args, timeout=180):
        return subprocess.run([COMMAND, *args], env=self.env, capture_output=True, text=True, timeout=timeout)

    def good(self, *args):
        done = self.lab(*args)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return done.stdout

    def state(self):
        with open(os.path.join(self.home, "lab.json")) as f:
            state = json.load(f)
        return state, [space.find_again(p) for p in [*state["keepers"].values(), *state["daemons"].values()] if p]

    def nothing_is_left(self, processes, link):
        for process in processes:
            cluster.wait_until(lambda p=process: p.poll() is not None, 10, f"the end of {process.pid}")
        self.assertEqual(cluster.processes(self.home), {})
        self.assertFalse(link in [index for index, _ in socket.if_nameindex()])

    def begin(self, until):
        """Starts a lab and returns when its state says so."""
        process = subprocess.Popen([COMMAND, "start", "--servers", "2"], env=self.env, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True)

        def there():
            try:
                return until(self.state()[0])
            except (FileNotFoundError, ValueError):
                return False
        try:
            cluster.wait_until(there, 60, "the lab's beginning")
        except TimeoutError:
            process.kill()
            process.communicate()
            raise
        return process

    def test_twice_and_used_and_ended(self):
        said = self.good("start", "--servers", "2")
        self.assertIn("password", said)
        # What it prints can be typed: with the directory that was chosen, and only what this lab can do.
        self.assertIn(f"TARN_LAB={self.home} ", said)
        self.assertIn("vm migrate hello --to server2", said)
        self.assertNotIn("--ha ", said)
        again = self.good("start", "--servers", "2")
        self.assertIn("runs already", again)
        self.assertIn("vm migrate hello --to server2", again)
        other = self.lab("start", "--servers", "3")
        self.assertEqual(other.returncode, 1)
        self.assertIn("a lab with 2 servers runs already", other.stderr)
        self.assertRegex(other.stderr, f"TARN_LAB={self.home} .*lab end")
        nothing = self.lab()
        self.assertEqual(nothing.returncode, 2)
        self.assertIn("tools/lab status ", nothing.stderr)
        tarn = os.path.join(self.home, "tarn")
        listed = subprocess.run([tarn, "server", "list"], capture_output=True, text=True)
        self.assertEqual(listed.stdout.count("online"), 2, listed.stderr)
        self.refuses()
        self.good("cut", "2", "hb")
        self.assertIn("heartbeat: cut", self.good("status"))
        self.good("split", "m,1", "2", "management")
        self.assertIn("management: split off, alone", self.good("status"))
        self.good("heal")
        self.good("split", "m", "1,2")
        self.assertRegex(self.good("status"), r"server1 .*management: split off with server2; heartbeat: split off with server2")
        self.good("heal")
        self.assertNotIn("cut", self.good("status"))
        self.good("kill", "2")
        self.assertRegex(self.good("status"), r"server2 +does not run")
        self.assertIn("server2 does not run", self.good("start", "--servers", "2"))
        self.good("on", "2")
        self.assertEqual(self.good("run", "2", "hostname"), "server2\n")
        state, processes = self.state()
        self.good("end")
        self.nothing_is_left(processes, state["link"])
        self.assertIn("no lab", self.good("end"))
        self.assertIn("there is no lab in " + self.home, self.lab("status").stderr)

    def test_make_refuses_before_it_builds(self):
        for wrong, why in (("SERVERS=99", 'a lab has 1 to 32 servers, not "99"'), ("SERVERS=3 4", "unrecognized arguments: 4"),
                           ("HEARTBEATS=3", "invalid choice")):
            done = subprocess.run(["make", "--no-print-directory", "lab", wrong], cwd=cluster.ROOT, env=self.env, capture_output=True, text=True, timeout=60)
            self.assertIn(why, done.stderr)
            self.assertIn("root-lab", done.stderr)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(self.good("start", "--check", "--servers", "2"), "")

    WRONG = (
        ("split 1 2 nix", '"nix" is neither a group of machines nor a network; there are m (the manager) and 1 to 2 (the servers)'),
        ("split m,1 4", '"4" is neither'), ("split m,4 2", 'no machine "4"'), ("split m,1 1,2", "server1 is named twice"),
        ("split 1, 2", 'no machine ""'), ("split 1 heartbeat", "at least two groups"), ("split 1 2 heartbeat2", "networks management, heartbeat, "),
        ("split 1", "split takes more words: tools/lab split MACHINE,... MACHINE,... [NETWORK]"), ("split heartbeat 1 2", 'no machine "heartbeat"'),
        ("cut", "cut takes more words: tools/lab cut MACHINE [NETWORK]"), ("cut 9", 'no machine "9"'), ("cut nix", "m (the manager) and 1 to 2"),
        ("cut 2 telephone", 'server2 has no network "telephone"; it has management, heartbeat, migration, storage'),
        ("cut m storage", 'manager has no network "storage"; it has management'), ("cut 2 heartbeat extra", 'does not take "extra"'),
        ("heal heartbeat", "heal MACHINE heartbeat"), ("heal 2 nix", "it has management"), ("heal 2 storage 1", 'does not take "1"'),
        ("kill", "a machine is m (the manager) or a server's number"), ("kill 1 2", 'kill does not take "2": tools/lab kill MACHINE'),
        ("kill 9", "there are m"), ("stop 1 now", 'does not take "now"'), ("on", "on takes more words"), ("hang 1 2", 'not take "2"'),
        ("on 2", "server2 runs already"), ("run 9 ls", 'no machine "9"'), ("run 2", "run takes more words"), ("status now", 'not take "now"'),
        ("end now", 'end does not take "now"'), ("start --servers 99", 'a lab has 1 to 32 servers, not "99"'), ("start --servers x", "1 to 32"),
        ("start 3", "unrecognized arguments: 3"), ("dance", "invalid choice"))

    def refuses(self):
        """Every word that is wrong or too much, with what is right; and none of it does anything."""
        for wrong, why in self.WRONG:
            done = self.lab(*wrong.split(" "))
            self.assertIn(done.returncode, (1, 2), wrong)
            self.assertIn(why, done.stderr)
            self.assertNotIn("Traceback", done.stderr)
        self.assertIn("tools/lab status ", self.good("cut", "--help"))
        said = self.good("status")
        self.assertEqual(said.count(" pid "), 3, said)
        self.assertNotRegex(said, "cut|split")
        self.good("stop", "2")
        for verb in ("stop", "hang", "resume"):
            self.assertRegex(self.lab(verb, "2").stderr, f"server2 does not run; TARN_LAB={self.home} .*tools/lab on 2 starts it")
        self.good("on", "2")

    def test_interrupted(self):
        for how in (signal.SIGINT, signal.SIGTERM):
            process = self.begin(lambda s: s["daemons"].get("server1"))
            state, processes = self.state()
            process.send_signal(how)
            _, stderr = process.communicate(timeout=60)
            self.assertNotEqual(process.returncode, 0)
            self.assertNotIn("Traceback", stderr)
            self.nothing_is_left(processes, state["link"])
            self.assertFalse(os.path.exists(self.home))

    def test_crashed_half_way(self):
        for until in (lambda s: len(s["keepers"]) >= 2, lambda s: s["daemons"].get("server1")):
            process = self.begin(until)
            process.kill()
            process.communicate()
            state, processes = self.state()
            self.assertIn("not whole", self.lab("status").stderr)
        # The next start removes what is left of it.
        self.good("start", "--servers", "1")
        self.nothing_is_left_of(processes)
        self.assertNotEqual(state, self.state()[0])

    def nothing_is_left_of(self, processes):
        for process in processes:
            cluster.wait_until(lambda p=process: p.poll() is not None, 10, f"the end of {process.pid}")

    def test_keepers_killed(self):
        self.good("start", "--servers", "1")
        state, processes = self.state()
        for written in state["keepers"].values():
            space.find_again(written).kill()
        time.sleep(0.1)
        self.assertIn("not whole", self.lab("status").stderr)
        self.good("end")
        self.nothing_is_left(processes, state["link"])


class Hardware(lab.LabCase):
    """What a server says of itself, and says again when it changes."""

    SERVERS, TEMPLATE, REPOSITORY = 1, False, False

    def nics(self):
        return {nic["name"]: nic for nic in self.api.get("/servers/server1")["hardware"]["nics"]}

    def wait_nic(self, question, what):
        cluster.wait_until(lambda: question(self.nics()), 30, what)

    def test_what_there_is(self):
        hardware = self.api.get("/servers/server1")["hardware"]
        self.assertEqual(hardware["cpus"], hardware["sockets"] * hardware["cores"] * hardware["threads"])
        self.assertGreater(hardware["memory"], 1 << 30)
        self.assertEqual(sorted(self.nics()), ["hb", "mgmt", "mig", "sto"])
        self.assertEqual(self.nics()["mig"]["addresses"], [self.lab.address("migration", "server1") + "/24"])
        shown = self.cluster.cli("server", "show", "server1").stdout
        self.assertIn(self.nics()["hb"]["mac"], shown)

    def test_plugged_and_unplugged(self):
        there = self.lab.spaces["server1"]
        there.ip(["link add extra type veth peer name other", "link set other up", "link set extra up", "addr add 192.0.2.99/24 dev extra"])
        self.wait_nic(lambda n: "extra" in n and n["extra"]["up"] and n["extra"]["addresses"] == ["192.0.2.99/24"], "the new NIC")
        there.ip(["addr add 192.0.2.100/24 dev extra", "link set other down"])
        self.wait_nic(lambda n: len(n["extra"]["addresses"]) == 2 and not n["extra"]["up"], "its new address, and no carrier")
        there.ip(["link del extra"])
        self.wait_nic(lambda n: "extra" not in n, "its end")
        self.assertTrue(self.cluster.online("server1"))


class Roles(lab.LabCase):
    """Traffic uses the address of its role."""

    SERVERS, TEMPLATE, REPOSITORY = 2, False, False

    def server(self):
        return self.api.get("/servers/server1")

    def from_address(self, wanted):
        # A new connection comes some moments after the old one has gone.
        cluster.wait_until(lambda: self.server()["connected_from"] == wanted and self.cluster.connected() == 2, 60,
                           f"a connection from {wanted}")

    def peers(self):
        """The far ends of the manager's connections."""
        return self.lab.run("manager", ["ss", "-Htn", "state", "established", f"( sport = :{lab.PORT} )"]).stdout

    def test_management(self):
        first = self.lab.address("management", "server1")
        second = self.lab.subnet("management") + ".111"
        self.from_address(first)
        self.lab.spaces["server1"].ip([f"addr add {second}/24 dev mgmt"])
        cluster.wait_until(lambda: second in json.dumps(self.server()["hardware"]), 30, "the new address")
        self.api.patch("/servers/server1", {"addresses": [{"address": second, "roles": ["management"]}]})
        self.from_address(second)
        self.assertIn(f"{second}:", self.peers())
        self.assertNotIn(f"{first}:", self.peers())
        # It is remembered, and comes first after a restart.
        self.lab.stop("server1")
        self.lab.power_on("server1")
        self.lab.wait_online("server1")
        self.from_address(second)
        # An address that is gone is no reason to stay away.
        self.lab.spaces["server1"].ip([f"addr del {second}/24 dev mgmt"])
        self.from_address(first)
        events = [e["kind"] for e in self.api.list("/events")]
        self.assertIn("server.address-lost", events)
        alarms = [a["message"] for a in self.api.list("/alarms") if a["code"] == "server.address" and a["active"]]
        self.assertIn(second, alarms[0])
        self.lab.spaces["server1"].ip([f"addr add {second}/24 dev mgmt"])
        self.from_address(second)
        cluster.wait_until(lambda: not [a for a in self.api.list("/alarms") if a["code"] == "server.address" and a["active"]],
                           30, "no alarm")

    def test_management_address_that_leads_nowhere(self):
        other = self.lab.address("heartbeat", "server2")
        self.api.patch("/servers/server2", {"addresses": [{"address": other, "roles": ["management"]}]})
        cluster.wait_until(lambda: "was not reached from the management address" in self.lab.daemon("server2").tail(20000), 90,
                           "the try from another address")
        self.lab.wait_online("server2")
        self.assertEqual(self.api.get("/servers/server2")["connected_from"], self.lab.address("management", "server2"))
        self.api.patch("/servers/server2", {"addresses": []})

    def test_heartbeat_network_that_one_lacks(self):
        self.lab.give_roles("server1")
        self.api.post("/pools", {"name": "beats", "clustered": True})
        self.api.do("/pools/beats/add", {"server": "server1"})
        # At once, or by the job if the cluster is just being set up.
        with self.assertRaises((rest.ApiError, rest.JobFailed)) as failed:
            self.api.do("/pools/beats/add", {"server": "server2"})
        self.assertIn("heartbeat network is missing on server \"server2\"", failed.exception.message)
        # The other way round: it goes away from a member.
        error = self.refused(409, "conflict", "PATCH", "/servers/server1", {"addresses": []})
        self.assertIn("remove the server from the pool", error["message"])
        self.api.do("/pools/beats/remove", {"server": "server1"})
        cluster.wait_until(lambda: self.api.raw("DELETE", "/pools/beats").status == 204, 60, "the end of the pool")
        self.api.patch("/servers/server1", {"addresses": []})

    def test_refused(self):
        error = self.refused(400, "invalid", "PATCH", "/servers/server2", {"addresses": [{"address": "192.0.2.1", "roles": ["migration"]}]})
        self.assertIn("has no address 192.0.2.1; it has", error["message"])
        done = self.cluster.cli("server", "set", "server2", "--address", "address=10.0.0,roles=migration")
        self.assertIn("IPv4 or IPv6", done.stderr)
        good = self.cluster.cli("server", "set", "server2", "--address",
                                f"address={self.lab.address('migration', 'server2')},roles=migration+storage")
        self.assertEqual(good.returncode, 0, good.stderr)


class Traffic(lab.LabCase):
    """What goes over which network, by the counters of the interfaces."""

    POOL, TEMPLATE = True, True

    def counted(self, work):
        """The bytes that each network of server1 has sent during the work."""
        before = {network: self.lab.packets("server1", network)[1] for network in self.lab.networks}
        work()
        return {network: self.lab.packets("server1", network)[1] - before[network] for network in self.lab.networks}

    def test_heartbeat(self):
        sent = self.counted(lambda: time.sleep(3))
        self.assertGreater(sent["heartbeat"], 1000)
        self.assertLess(sent["migration"] + sent["storage"], 1000)

    def test_migration(self):
        vm = self.cluster.vm("mover", pool="pool", server="server1")
        self.assertEqual(self.api.get("/servers/server1")["id"], vm["server"])
        sent = self.counted(lambda: self.api.do("/vms/mover/migrate", {"to": "server2"}, timeout=120))
        # The kernel, the initramfs and what the guest has written; empty pages cost little.
        self.assertGreater(sent["migration"], 8 << 20)
        self.assertLess(sent["management"], 1 << 20)
        self.assertLess(sent["storage"], 1 << 20)
        self.api.do("/vms/mover/kill")
        self.api.remove("/vms/mover")


class GoneForGood(lab.LabCase):
    """A server of a clustered pool burns down and is removed with --force."""

    POOL, TEMPLATE = True, True

    def test_removed(self):
        l = self.lab
        self.api.do("/repositories", {"name": "own", "server": "server3", "path": os.path.join(l.dir, "own")})
        self.api.do("/disks", {"name": "burnt", "repository": "own", "size": 1 << 20})
        self.cluster.vm("phoenix", pool="pool", server="server3", repository="shared")
        # What it runs comes first.
        self.assertIn("maintenance on server3", self.refused(409, "in-use", "DELETE", "/servers/server3?force=true")["message"])
        l.kill("server3")
        cluster.wait_until(lambda: not self.cluster.online("server3"), 60, "server3 offline")
        done = self.cluster.cli("server", "delete", "server3", "--force")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?s)\nlost .*burnt.*\ncrashed .*phoenix.*\nwarnings")
        vm = self.api.get("/vms/phoenix")
        self.assertEqual((vm["state"], vm["server"]), ("crashed", ""))
        self.assertIn("removed for good", vm["state_reason"])
        # The others form the pool's cluster without it.
        rest_of = [self.api.get(f"/servers/{name}")["id"] for name in ("server1", "server2")]

        def without():
            return sorted(node["server"] for node in self.api.get("/pools/pool")["cluster"]["nodes"]) == sorted(rest_of)
        cluster.wait_until(without, 120, "the cluster of two")
        self.api.do("/vms/phoenix/start", timeout=120)
        self.assertIn(self.api.get("/vms/phoenix")["server"], rest_of)
        # It was not gone after all: it is told, and stays away.
        l.power_on("server3")
        cluster.wait_until(lambda: "does not know this server" in l.daemon("server3").tail(), 60, "the refusal")
        self.api.do("/vms/phoenix/kill")
