# SPDX-License-Identifier: Apache-2.0
"""Servers that are lost: real corosync, real guests, and faults of every kind; seconds until guests run again, and never two.

A guest appends records, each with its boot's id and a growing number, to a disk in the shared repository; afterwards
each boot's records must stand together. A second watch looks at the processes: of each guest there is one at most, ever."""

import glob
import os
import select
import signal
import subprocess
import threading
import time
import uuid

import cluster
import lab
import writers

AIM = float(os.environ.get("TARN_FAILOVER_AIM", "10"))  # seconds; a machine under load is given more
SLOW = 60


class Watch(threading.Thread):
    """Looks again and again at which processes there are of the guests."""

    def __init__(self, ids):
        super().__init__(daemon=True)
        self.ids, self.double, self.since, self.ended = set(ids), [], {}, False
        self.moving = None  # one that is at two places, and runs at one of them

    def run(self):
        while not self.ended:
            now, there = time.monotonic(), writers.qemus()
            for vm in self.ids:
                pids = [pid for pid in there.get(vm, []) if not cluster.gone(pid)]
                if len(pids) > 1 and vm != self.moving:
                    self.double.append((vm, pids))
                for pid in pids:
                    self.since.setdefault(pid, (vm, now))
            time.sleep(0.05)

    def first_after(self, vm, moment):
        """When a process of the guest was first seen after the moment, or None."""
        seen = [at for of, at in self.since.values() if of == vm and at > moment]
        return min(seen) if seen else None


class Failover(lab.LabCase):
    SERVERS, TEMPLATE, REPOSITORY = 3, False, False
    GUESTS = ("one", "two", "three")

    @classmethod
    def prepare(cls):
        l = cls.lab
        cls.times = []
        for name in l.names:
            cls.api.patch(f"/servers/{name}", {"addresses": [
                {"address": l.address("management", name), "roles": ["management"]},
                {"address": l.address("heartbeat", name), "roles": ["heartbeat"]},
                {"address": l.address("migration", name), "roles": ["migration"]}]})
        cls.api.post("/pools", {"name": "p", "clustered": True})
        for name in l.names:
            cls.api.do("/pools/p/add", {"server": name})
        cls.wait_whole()
        cls.api.do("/repositories", {"name": "shared", "pool": "p", "path": l.dir + "/shared"})
        l.tiny_template(repository="shared", cpus=1, memory=96 << 20)
        for i, name in enumerate(cls.GUESTS):
            l.vm(name, start=False, pool="p", server=l.names[i], repository="shared", disks=[{"size": 16 << 20}],
                 cloud_init={"user_data": writers.WRITER}, restart_policy="on-failure",
                 ha={"enabled": True, "priority": 90 - i * 10})
        l.vm("plain", start=False, pool="p", server=l.names[0], repository="shared", restart_policy="on-failure")
        for name in [*cls.GUESTS, "plain"]:
            cls.api.do(f"/vms/{name}/start")
        cls.ids = {name: cls.api.get(f"/vms/{name}")["id"] for name in cls.GUESTS}
        cls.watch = Watch(cls.ids.values())
        cls.watch.start()

    @classmethod
    def tearDownClass(cls):
        cls.watch.ended = True
        cls.watch.join()
        print("\nseconds from the fault until guests ran again")
        for what, seconds in cls.times:
            print(f"  {what:50} {seconds}")
        super().tearDownClass()

    @classmethod
    def wait_whole(cls, timeout=SLOW):
        """Every server is in the cluster, armed, and sees all the others."""
        def whole():
            servers = [cls.api.get(f"/servers/{name}") for name in cls.lab.names]
            return all(s["state"] == "online" and s.get("cluster", {}).get("armed") and s["cluster"]["quorate"] and
                       len(s["cluster"]["members"]) == len(servers) and not s["cluster"]["gone"] for s in servers)
        cluster.wait_until(whole, timeout, "the cluster whole")

    def setUp(self):
        self.wait_whole()
        for name in self.GUESTS:
            self.lab.wait_vm(name, "running", SLOW)
        self.assertEqual(self.watch.double, [])

    def tearDown(self):
        for name in [lab.MANAGER, *self.lab.names]:
            if self.lab.daemon(name).running():
                self.lab.resume(name)
        self.lab.heal()
        for name in [lab.MANAGER, *self.lab.names]:
            if not self.lab.daemon(name).running():
                self.lab.power_on(name)
        self.lab.manager.wait_ready()
        self.lab.connect()
        type(self).api = self.lab.api
        for name in self.lab.names:
            self.lab.wait_online(name)
        self.assertEqual(self.watch.double, [], "a guest had two processes")

    # ---- what is asked ----

    def where(self, name):
        vm = self.api.get(f"/vms/{name}")
        return self.lab.names[[self.api.get(f"/servers/{n}")["id"] for n in self.lab.names].index(vm["server"])] \
            if vm["server"] else None

    def guests_on(self, server):
        return [name for name in self.GUESTS if self.where(name) == server]

    def server_with_guests(self):
        return max(self.lab.names, key=lambda n: len(self.guests_on(n)))

    def pids(self):
        there = writers.qemus()
        return {name: [pid for pid in there.get(vm, []) if not cluster.gone(pid)] for name, vm in self.ids.items()}

    def runs_again(self, what, names, moment, aim=AIM):
        """Waits until the guests run elsewhere; notes how long it took from the moment."""
        took = 0
        for name in names:
            at = cluster.wait_until(lambda n=name: self.watch.first_after(self.ids[n], moment), SLOW, f"{name} again")
            took = max(took, at - moment)
        for name in names:
            self.lab.wait_vm(name, "running", SLOW)
        self.times.append((what, f"{took:5.1f} ({len(names)} guests)"))
        self.assertLess(took, max(aim, SLOW if os.getloadavg()[0] > 3 else aim), what)

    def untouched(self, names, before):
        after = self.pids()
        for name in names:
            self.assertEqual(after[name], before[name], f"{name} was restarted")

    def fault(self, what, server, act, more=None):
        """A fault that costs a server its guests: they run again elsewhere, and no others are touched."""
        names = self.guests_on(server)
        others = [name for name in self.GUESTS if name not in names]
        self.assertTrue(names, f"no guest on {server}")
        before = self.pids()
        moment = time.monotonic()
        act()
        if more:
            more()
        self.runs_again(what, names, moment)
        self.untouched(others, before)
        for name in names:
            self.assertNotEqual(self.where(name), server)
            self.assertTrue(self.api.get(f"/vms/{name}")["guarded"])
        return names

    # ---- faults ----

    def test_1_server_killed(self):
        server = self.server_with_guests()
        self.fault("server killed", server, lambda: self.lab.kill(server))
        shown = self.api.get(f"/servers/{server}")
        self.assertTrue(shown["cluster"]["gone"])
        self.assertEqual(shown["state"], "offline")
        self.lab.power_on(server)
        self.wait_whole()
        self.assertFalse(self.api.get(f"/servers/{server}")["cluster"]["gone"])

    def test_2_server_cut_off(self):
        server = self.server_with_guests()
        old = self.pids()
        names = self.fault("server cut off", server, lambda: self.lab.cut(server))
        self.assertTrue(all(cluster.gone(pid) for name in names for pid in old[name]))
        self.lab.heal(server)
        self.wait_whole()

    def test_3_heartbeat_cut_alone(self):
        server = self.server_with_guests()
        self.fault("heartbeat cut alone", server, lambda: self.lab.cut(server, "heartbeat"))
        self.assertEqual(self.api.get(f"/servers/{server}")["state"], "online")
        self.assertFalse(self.api.get(f"/servers/{server}")["cluster"]["quorate"])
        self.lab.heal(server)
        self.wait_whole()

    def test_4_halves(self):
        """The manager is with the one: it must not believe it, and hears of nobody else."""
        server = self.server_with_guests()
        others = [name for name in self.lab.names if name != server]
        self.fault("halves of 2 and 1, heartbeat", server, lambda: self.lab.split([others, [server]], "heartbeat"))
        self.lab.heal()
        self.wait_whole()

    def test_5_manager_alone(self):
        """A minute without it: nothing restarts, and afterwards it finds all as it was."""
        before = self.pids()
        self.lab.manager.kill()
        time.sleep(float(os.environ.get("TARN_FAILOVER_MINUTE", "12")))
        self.untouched(self.GUESTS, before)
        self.lab.manager.start()
        self.lab.connect()
        type(self).api = self.lab.api
        self.wait_whole()
        time.sleep(2)
        self.untouched(self.GUESTS, before)
        for name in self.GUESTS:
            self.lab.wait_vm(name, "running")

    def test_6_agent_hung(self):
        """The agent alone: its guests go on, and nobody else starts them."""
        server = self.server_with_guests()
        before = self.pids()
        self.lab.hang(server)
        time.sleep(12)
        self.untouched(self.GUESTS, before)
        self.lab.resume(server)
        self.wait_whole()
        self.untouched(self.GUESTS, before)

    def test_6_made_highly_available_while_its_server_is_away(self):
        """The server is told when it is there again, and then the guest is one of those that run again."""
        server = self.server_with_guests()
        name = self.guests_on(server)[0]
        self.api.patch(f"/vms/{name}", {"ha": {"enabled": False}})
        self.lab.cut(server, "management")
        cluster.wait_until(lambda: self.api.get(f"/servers/{server}")["state"] == "offline", SLOW, "away")
        shown = self.api.patch(f"/vms/{name}", {"ha": {"enabled": True}})
        self.assertFalse(shown["guarded"])
        self.lab.heal(server)
        cluster.wait_until(lambda: self.api.get(f"/vms/{name}")["guarded"], SLOW, "guarded")
        self.wait_whole()
        self.fault("made highly available while its server was away", server, lambda: self.lab.kill(server))
        self.lab.power_on(server)
        self.wait_whole()

    def test_7_agent_hung_and_cut(self):
        """tarn-deadman does it alone; the agent, let go, does not start what it was told before."""
        server = self.server_with_guests()

        def act():
            self.lab.hang(server)
            self.lab.cut(server)
        self.fault("agent hung, server cut off", server, act)
        self.lab.heal(server)
        self.lab.resume(server)
        self.wait_whole()
        time.sleep(1)
        self.assertEqual(self.watch.double, [])

    def test_8_manager_and_server(self):
        """Both at once: the guests start when the manager is back."""
        server = self.server_with_guests()
        names = self.guests_on(server)
        before = self.pids()
        self.lab.manager.kill()
        self.lab.kill(server)
        time.sleep(8)
        moment = time.monotonic()
        self.lab.manager.start()
        self.lab.connect()
        type(self).api = self.lab.api
        self.runs_again("manager and server, from the manager's return", names, moment)
        self.untouched([name for name in self.GUESTS if name not in names], before)
        self.lab.power_on(server)
        self.wait_whole()

    def of_server(self, server, word):
        """The pids of a program of a server."""
        pids = []
        for pid in self.lab.spaces[server].processes():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    args = f.read().split(b"\0")
            except OSError:
                continue
            if args[0].endswith(word.encode()):
                pids.append(pid)
        return pids

    def test_8_after_its_power_was_lost(self):
        """A tarn-deadman that starts after a boot knows nothing: it is armed again before any guest runs there, and kills in time."""
        server = self.server_with_guests()
        self.fault("server killed, which is to come back", server, lambda: self.lab.kill(server))
        self.lab.power_on(server)
        self.wait_whole()
        with open(glob.glob(f"/proc/{self.lab.spaces[server].keeper.pid}/root/run/tarn/*/deadman.log")[0]) as f:
            self.assertIn(" armed", f.read().replace("not armed", ""))
        self.watch.moving = self.ids["one"]
        self.api.do("/vms/one/migrate", {"to": server})
        time.sleep(1)  # the watch has seen that it is at one place again
        self.watch.moving = None
        old = self.pids()["one"]
        self.fault("it is cut off after it came back", server, lambda: self.lab.cut(server))
        self.assertTrue(all(cluster.gone(pid) for pid in old))
        self.lab.heal(server)
        self.wait_whole()

    def test_8_corosync_hangs(self):
        """Its answers stop coming, and nobody says that it has lost quorum: the guests are killed all the same."""
        server = self.server_with_guests()
        corosync = self.of_server(server, "corosync")
        self.assertEqual(len(corosync), 1)
        self.fault("corosync hangs", server, lambda: os.kill(corosync[0], signal.SIGSTOP))
        os.kill(corosync[0], signal.SIGCONT)
        self.wait_whole()

    def test_8_small_programs_die(self):
        """The agent alone, tarn-deadman alone: neither costs a guest, and both come back."""
        server = self.server_with_guests()
        before = self.pids()
        deadman = self.of_server(server, "tarn-deadman")
        self.assertEqual(len(deadman), 1)
        os.kill(deadman[0], signal.SIGKILL)
        cluster.wait_until(lambda: set(self.of_server(server, "tarn-deadman")) - set(deadman), 20, "another tarn-deadman")
        self.lab.daemon(server).kill()
        time.sleep(6)
        self.untouched(self.GUESTS, before)
        self.lab.daemon(server).start()
        self.wait_whole()
        self.untouched(self.GUESTS, before)
        # The new one knows the guests: cut off, it kills them.
        self.fault("after both were started again", server, lambda: self.lab.cut(server))
        self.lab.heal(server)
        self.wait_whole()

    def test_8_short_of_room(self):
        """The important one starts first, the other waits where everybody can see it, and starts when there is room."""
        l, size = self.lab, 96 << 20
        server = self.where("one")
        others = [name for name in l.names if name != server]
        for name, there in zip(("two", "three"), others):
            if self.where(name) != there:
                self.watch.moving = self.ids[name]
                self.api.do(f"/vms/{name}/migrate", {"to": there})
                time.sleep(1)  # the watch has seen that it is at one place again
                self.watch.moving = None
        self.api.raw("POST", "/vms/plain/kill")
        cluster.wait_until(lambda: l.vm_state("plain") in ("stopped", "crashed"), SLOW, "plain gone")
        l.vm("room", start=False, pool="p", server=others[0], repository="shared", memory=size, restart_policy="never")
        self.api.do("/vms/room/start")
        l.vm("low", pool="p", server=server, repository="shared", memory=size, ha={"enabled": True, "priority": 1})
        self.assertEqual(self.where("low"), server)
        memory = min(self.api.get(f"/servers/{name}")["hardware"]["memory"] for name in l.names)
        # Three guests fit on each. Admission keeps what is needed should any server fail.
        self.api.patch("/pools/p", {"memory_reserve": memory - 3 * size - (1 << 20), "admission_failures": 1})
        l.vm("extra", start=False, pool="p", repository="shared", memory=2 * size)
        done = self.api.raw("POST", "/vms/extra/start")
        self.assertEqual(done.status, 507, done.data)
        self.assertIn(b"keeps some for the failure of 1 server", done.data)
        # Room for one more on one of the others only.
        self.api.patch("/pools/p", {"memory_reserve": memory - 2 * size - (1 << 20), "admission_failures": 0})
        moment = time.monotonic()
        l.kill(server)
        self.runs_again("the more important of two, short of room", ["one"], moment)
        cluster.wait_until(lambda: "of memory left" in self.api.get("/vms/low")["state_reason"], SLOW, "the reason")
        job = [j for j in self.api.get("/jobs", limit=20)["items"] if j["kind"] == "vm.recover" and j["object"]["name"] == "low"][0]
        self.assertEqual(job["state"], "queued")
        self.assertIn("of memory left", job["message"])
        alarms = [a for a in self.api.list("/alarms") if a["code"] == "vm.recovery-waits" and a["active"]]
        self.assertEqual([a["object"]["name"] for a in alarms], ["low"])
        self.api.do("/vms/room/kill")
        l.wait_vm("low", "running", SLOW)
        self.assertEqual([a for a in self.api.list("/alarms") if a["code"] == "vm.recovery-waits" and a["active"]], [])
        for name in ("low", "room", "extra"):
            if name == "low":
                self.api.do(f"/vms/{name}/kill")
            self.api.remove(f"/vms/{name}")
        self.api.patch("/pools/p", {"memory_reserve": 0})
        l.power_on(server)
        self.wait_whole()

    def test_8_deadman_stopped(self):
        """It stands still (SIGSTOP, a debugger): the agent puts another in its place, which costs no guest and kills in time."""
        server = self.server_with_guests()
        before = self.pids()
        deadman = self.of_server(server, "tarn-deadman")
        os.kill(deadman[0], signal.SIGSTOP)
        cluster.wait_until(lambda: set(self.of_server(server, "tarn-deadman")) - set(deadman), 20, "another tarn-deadman")
        self.assertTrue(cluster.gone(deadman[0]))
        cluster.wait_until(lambda: self.api.get(f"/servers/{server}")["cluster"]["quorate"], 20, "its lease")
        self.untouched(self.GUESTS, before)
        self.fault("after its tarn-deadman was stopped", server, lambda: self.lab.cut(server))
        self.lab.heal(server)
        self.wait_whole()

    def test_8_no_deadman_can_live(self):
        """Somebody else holds its lock: the agent itself kills the guests when the lease has ended."""
        server = self.server_with_guests()
        folder = f"/run/tarn/{self.api.get(f'/servers/{server}')['id']}"
        holder = subprocess.Popen(self.lab.spaces[server].enter(
            ["flock", "-o", f"{folder}/deadman.lock", "sh", "-c", "echo held; exec sleep 600"]), stdout=subprocess.PIPE)
        try:
            def held():
                """The agent's next one may be faster than the one that waits for the lock."""
                for pid in self.of_server(server, "tarn-deadman"):
                    cluster.kill_pid(pid)
                return select.select([holder.stdout], [], [], 0.05)[0]
            cluster.wait_until(held, SLOW, "the lock in somebody else's hands")
            self.assertEqual(holder.stdout.readline(), b"held\n")
            self.fault("no tarn-deadman can live, cut off", server, lambda: self.lab.cut(server))
        finally:
            for pid in [holder.pid, *[p for p in self.lab.spaces[server].processes() if self.is_sleep(p)]]:
                cluster.kill_pid(pid)
            holder.wait()
            holder.stdout.close()
        self.lab.heal(server)
        self.wait_whole()

    @staticmethod
    def is_sleep(pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                return f.read() == b"sleep\0600\0"
        except OSError:
            return False

    def test_8_nothing_waits_in_the_page_cache(self):
        """What a killed guest has left there its server might write later."""
        for name, pids in self.pids().items():
            with open(f"/proc/{pids[0]}/cmdline", "rb") as f:
                self.assertIn(b'"cache":{"direct":true}', f.read(), name)
            with_direct = [fd for fd in glob.glob(f"/proc/{pids[0]}/fdinfo/*") if self.is_direct(fd)]
            self.assertTrue(with_direct, name)

    @staticmethod
    def is_direct(path):
        try:
            with open(path) as f:
                flags = dict(line.split(":", 1) for line in f.read().splitlines() if ":" in line)["flags"]
        except OSError:
            return False
        return bool(int(flags, 8) & os.O_DIRECT)

    def test_9_the_disks_tell(self):
        """Each boot's records stand together on each disk, in order and whole."""
        for name in self.GUESTS:
            disk = self.api.get(f"/vms/{name}")["disks"][0]["disk"]
            image = writers.image_of(f"{self.lab.dir}/shared", disk)
            # On a busy machine one may not have come so far in any of its short lives.
            cluster.wait_until(lambda i=image: writers.records_of(i), SLOW, f"{name} has written something")
            self.api.do(f"/vms/{name}/kill")
            records = writers.records_of(image)
            writers.check_records(name, records)
            for boot, _ in records:
                uuid.UUID(boot)
        self.assertEqual(self.watch.double, [])




class Rings(lab.LabCase):
    """Two heartbeat networks; and servers that come and go."""

    SERVERS, HEARTBEATS, TEMPLATE, REPOSITORY = 3, 2, False, False

    def clusters(self):
        return [self.api.get(f"/servers/{name}").get("cluster", {}) for name in self.lab.names]

    def sees(self, servers):
        """Each of the first so many is quorate and sees as many."""
        return all(c.get("quorate") and len(c["members"]) == servers for c in self.clusters()[:servers])

    def left_on(self, server):
        found = []
        for pid in self.lab.spaces[server].processes():
            try:
                with open(f"/proc/{pid}/cmdline") as f:
                    found.append(f.read())
            except OSError:
                continue
        return [args for args in found if "corosync" in args or "deadman" in args]

    def test_rings_and_members(self):
        l = self.lab
        for name in l.names:
            self.api.patch(f"/servers/{name}", {"addresses": [
                {"address": l.address("heartbeat", name), "roles": ["heartbeat"]},
                {"address": l.address("heartbeat2", name), "roles": ["heartbeat"]}]})
        self.api.post("/pools", {"name": "p", "clustered": True})
        for name in l.names:
            self.api.do("/pools/p/add", {"server": name})
        cluster.wait_until(lambda: self.sees(3) and all(c["armed"] for c in self.clusters()), SLOW, "three servers, armed")
        self.assertEqual(self.api.get("/pools/p")["cluster"]["rings"], 2)
        # What corosync writes for years does not fill the disk.
        log = os.path.join(next(agent for agent in l.agents if agent.name == "server1").state, "cluster/corosync.log")
        os.truncate(log, 5 << 20)
        cluster.wait_until(lambda: os.path.getsize(log) < 5 << 20, SLOW, "a shorter log")
        # One network of two is gone: nobody notices.
        for name in l.names:
            l.cut(name, "heartbeat")
        leases = [c["members"] for c in self.clusters()]
        time.sleep(8)
        self.assertTrue(self.sees(3))
        self.assertEqual([c["members"] for c in self.clusters()], leases)
        l.heal()
        self.assertLess(os.path.getsize(log), 1 << 20)
        self.assertGreater(os.path.getsize(log), 0)
        # The third leaves: the others are too few to be armed, and nothing of it is left there.
        self.api.do("/pools/p/remove", {"server": "server3"})
        cluster.wait_until(lambda: self.sees(2) and not any(c.get("armed") for c in self.clusters()), SLOW, "two servers")
        self.assertFalse(self.clusters()[2].get("pool"))
        cluster.wait_until(lambda: not self.left_on("server3"), SLOW, "server3 without corosync and tarn-deadman")
        cluster.wait_until(lambda: not os.path.exists(os.path.join(l.daemon("server3").state, "cluster")), SLOW, "no files")
        # And comes back.
        self.api.do("/pools/p/add", {"server": "server3"})
        cluster.wait_until(lambda: self.sees(3) and all(c["armed"] for c in self.clusters()), SLOW, "three servers again")
