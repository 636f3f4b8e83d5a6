# SPDX-License-Identifier: Apache-2.0
"""Live migration of real guests between two agents, on 127.0.0.2 and .3: each guest checks its own memory and disk all the while.

Named here: vm_migrate."""

import contextlib
import glob
import os
import pwd
import signal
import socket
import ssl
import subprocess
import unittest

import checker
import cluster
import rest


class MigrateCase(unittest.TestCase):
    """Two servers with a shared repository; both local ones too."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(2, prefix="tarn-m-")
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.api = cls.cluster.api
        cls.first, cls.second = cls.cluster.agents
        for number, agent in enumerate(cls.cluster.agents):
            cls.cluster.repository("local" + str(number + 1), agent)
            cls.api.patch("/servers/" + agent.name, {"addresses": [{"address": f"127.0.0.{number + 2}", "roles": ["migration"]}]})
        cls.api.do("/repositories", {"name": "shared", "server": cls.first.name, "path": os.path.join(cls.cluster.dir, "shared")})
        cls.api.do("/repositories/shared/present", {"server": cls.second.name})
        kernel, initrd = checker.images(cls.cluster.dir)
        cls.api.do("/templates", {"name": "tiny", "repository": "shared", "kernel_image": {"path": kernel},
                                  "initrd_image": {"path": initrd}, "machine": "q35", "memory": 128 << 20,
                                  "cmdline": "console=ttyS0 quiet"}, timeout=120)

    def guest(self, name, **more):
        body = {"name": name, "template": "tiny", "start": True, "display": "none", "restart_policy": "never",
                "server": self.first.name, "disks": [{"size": 32 << 20}]}
        body.update(more)
        self.addCleanup(self.remove, name)
        self.api.do("/vms", body, timeout=120)
        return checker.Checked(self.cluster, name)

    def remove(self, name):
        if self.api.raw("GET", "/vms/" + name).status != 200:
            return
        if self.api.get("/vms/" + name)["state"] not in ("stopped", "crashed"):
            self.api.do(f"/vms/{name}/kill")
        self.api.remove("/vms/" + name)

    def assert_on(self, name, agent, state="running"):
        """It is there, as one process, and nowhere else."""
        vm = self.api.get("/vms/" + name)
        self.assertEqual((vm["state"], vm["target"]), (state, ""))
        for one in self.cluster.agents:
            self.assertEqual(vm["id"] in one.guests(), one is agent, one.name)
        server = self.api.get("/servers/" + agent.name)
        self.assertEqual((vm["server"], server["unknown_guests"]), (server["id"], []))


class Shared(MigrateCase):
    def test_there_and_back_with_a_busy_guest(self):
        guest = self.guest("busy")
        job = self.api.do("/vms/busy/migrate", {"to": self.second.name}, timeout=120)
        print("  " + "; ".join(c.get("detail", "") for c in job["changes"]), flush=True)
        self.assertTrue([c for c in job["changes"] if "paused while its memory moved" in c.get("detail", "")], job["changes"])
        self.assert_on("busy", self.second)
        guest.check()
        self.api.do("/vms/busy/migrate", {}, timeout=120)
        self.assert_on("busy", self.first)
        guest.check()

    def test_a_suspended_guest_arrives_suspended(self):
        guest = self.guest("still")
        self.api.do("/vms/still/suspend")
        self.api.do("/vms/still/migrate", {"to": self.second.name}, timeout=120)
        self.assert_on("still", self.second, "suspended")
        self.api.do("/vms/still/resume")
        guest.check()
        self.assert_on("still", self.second)

    def test_a_microvm(self):
        guest = self.guest("micro", machine="microvm")
        self.api.do("/vms/micro/migrate", {"to": self.second.name}, timeout=120)
        self.assert_on("micro", self.second)
        guest.check()
        # It is an ordinary guest there: it can be shut down, and started again.
        self.api.do("/vms/micro/stop", {"timeout": 60})
        self.api.do("/vms/micro/start")
        self.assert_on("micro", self.second)

    def test_with_firmware_a_seed_and_every_bus(self):
        guest = self.guest("rich", firmware="uefi", cloud_init={"user_data": "#cloud-config\nhostname: rich\n"},
                           disks=[{"size": 16 << 20}, {"size": 16 << 20, "bus": "virtio-scsi"}, {"size": 16 << 20, "bus": "sata"}],
                           display="vnc", memory=160 << 20)
        self.api.do("/vms/rich/migrate", {"to": self.second.name}, timeout=120)
        self.assert_on("rich", self.second)
        guest.check()
        self.api.do("/vms/rich/migrate", {"to": self.first.name}, timeout=120)
        guest.check()

    def kept(self, vm, agent, name):
        """What a file of the guest's control groups on that server says, whichever version this machine has; None: there is no group."""
        server = self.api.get("/servers/" + agent.name)["id"]
        groups = glob.glob(f"/sys/fs/cgroup/*/tarn/{vm}.{server}/{name}") + glob.glob(f"/sys/fs/cgroup/tarn/{vm}.{server}/{name}")
        if not groups:
            return None
        with open(groups[0]) as f:
            return f.read().split()

    def test_limits_hold_where_it_arrives(self):
        guest = self.guest("limited", limits={"cpu_cap": 60, "memory_max": 512 << 20, "pinning": "0"})
        vm = self.api.get("/vms/limited")["id"]
        for agent, other in ((self.second, self.first), (self.first, self.second)):
            self.api.do("/vms/limited/migrate", {"to": agent.name}, timeout=120)
            pid = str(agent.guests()[vm])
            if self.kept(vm, agent, "cpu.max"):
                self.assertEqual(int(self.kept(vm, agent, "cpu.max")[0]) * 100, 60 * int(self.kept(vm, agent, "cpu.max")[1]))
                self.assertEqual(self.kept(vm, agent, "memory.max"), [str(512 << 20)])
            else:
                quota, period = (int(self.kept(vm, agent, f"cpu.cfs_{what}_us")[0]) for what in ("quota", "period"))
                self.assertEqual(quota * 100, 60 * period)
                self.assertEqual(self.kept(vm, agent, "memory.limit_in_bytes"), [str(512 << 20)])
            self.assertIn(pid, self.kept(vm, agent, "cgroup.procs"))
            with open(f"/proc/{pid}/status") as f:
                self.assertIn("Cpus_allowed_list:\t0\n", f.read())
            cluster.wait_until(lambda gone=other: self.kept(vm, gone, "cgroup.procs") is None, 20, "the end of its group at the other server")
            guest.check()

    def listening(self, address):
        """Ports of the range for migrations on which somebody listens there."""
        found = []
        with open("/proc/net/tcp") as f:
            for line in f.readlines()[1:]:
                local, _, state = line.split()[1:4]
                host, port = local.split(":")
                if state == "0A" and socket.inet_ntoa(bytes.fromhex(host)[::-1]) == address and 49152 <= int(port, 16) < 49280:
                    found.append(int(port, 16))
        return found

    def test_strangers_get_nothing_and_disturb_nothing(self):
        guest = self.guest("guarded")
        vm = self.api.get("/vms/guarded")["id"]
        qemu = self.first.guests()[vm]
        job = self.api.post("/vms/guarded/migrate", {"to": self.second.name})
        cluster.wait_until(lambda: self.api.get("/jobs/" + job["id"])["steps"][0]["state"] == "done", 20, "the offer")
        os.kill(qemu, signal.SIGSTOP)  # so that nobody is faster than the strangers
        try:
            port = cluster.wait_until(lambda: self.listening("127.0.0.3"), 20, "a port of its destination")[0]
            self.assertEqual(self.listening("0.0.0.0"), [])
            with socket.create_connection(("127.0.0.3", port), 10) as s:
                s.sendall(b"QEVM\0\0\0\3" * 200)
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                            self.cluster.dir + "/stranger.key", "-out", self.cluster.dir + "/stranger.pem", "-subj", "/CN=stranger"],
                           check=True, capture_output=True)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.load_cert_chain(self.cluster.dir + "/stranger.pem", self.cluster.dir + "/stranger.key")
            with self.assertRaises((ssl.SSLError, OSError)):
                with socket.create_connection(("127.0.0.3", port), 10) as s, context.wrap_socket(s) as tls:
                    tls.sendall(b"QEVM\0\0\0\3" * 200)
                    if not tls.recv(1):
                        raise OSError("the connection has ended")
        finally:
            os.kill(qemu, signal.SIGCONT)
        self.assertEqual(self.api.wait_job(job, 120)["state"], "done")
        self.assert_on("guarded", self.second)
        guest.check()
        for agent in self.cluster.agents:  # no key is left anywhere
            for folder, _, names in os.walk(agent.state):
                self.assertEqual([name for name in names if name.endswith(("client-key.pem", "server-key.pem"))], [], folder)


    def test_a_stranger_holds_the_port(self):
        """Connections that say nothing: QEMU may wait for them for ever, with the guest paused. The guest goes on."""
        guest = self.guest("held")
        qemu = self.first.guests()[self.api.get("/vms/held")["id"]]
        job = self.api.post("/vms/held/migrate", {"to": self.second.name})
        cluster.wait_until(lambda: self.api.get("/jobs/" + job["id"])["steps"][0]["state"] == "done", 20, "the offer")
        os.kill(qemu, signal.SIGSTOP)
        held = []
        try:
            port = cluster.wait_until(lambda: self.listening("127.0.0.3"), 20, "a port of its destination")[0]
            for _ in range(12):
                with contextlib.suppress(OSError):  # as many as it takes
                    held.append(socket.create_connection(("127.0.0.3", port), 1))
        finally:
            os.kill(qemu, signal.SIGCONT)
        ended = self.api.wait_job(job, 120)
        if ended["state"] != "done":
            self.assertIn("nothing has reached the other server", ended["error"])
            self.assert_on("held", self.first)
        guest.check()
        for s in held:
            s.close()


class Local(MigrateCase):
    """Disks that only their server reaches are mirrored to the other one."""

    def disk(self, name, repository="local1", size=32 << 20):
        self.api.do("/disks", {"name": name, "repository": repository, "size": size})
        self.addCleanup(lambda: self.api.remove("/disks/" + name))

    def files(self, agent):
        return [name for name in agent.repository_files() if name.startswith("disks/")]

    def test_disks_move_too(self):
        self.disk("own1")
        self.disk("own2")
        guest = self.guest("mover", disks=[{"disk": "own1"}, {"disk": "own2", "bus": "virtio-scsi"}])
        with self.assertRaises(rest.ApiError) as caught:
            self.api.post("/vms/mover/migrate", {"to": self.second.name})
        self.assertIn("--disks", str(caught.exception))
        self.api.do("/vms/mover/migrate", {"to": self.second.name, "disks": True}, timeout=120)
        self.assert_on("mover", self.second)
        guest.check()
        self.assertEqual((len(self.files(self.first)), len(self.files(self.second))), (0, 2))
        self.assertEqual(self.api.get("/disks/own1")["repository"], self.api.get("/repositories/local2")["id"])
        self.api.do("/vms/mover/migrate", {"to": self.first.name, "disks": True}, timeout=120)
        guest.check()
        self.assertEqual((len(self.files(self.first)), len(self.files(self.second))), (2, 0))
        self.api.do("/vms/mover/suspend")
        self.api.do("/vms/mover/migrate", {"to": self.second.name, "disks": True}, timeout=120)
        self.assert_on("mover", self.second, "suspended")
        self.api.do("/vms/mover/resume")
        guest.check()


class Policy(MigrateCase):
    """A pool's policy: a limit of bandwidth makes time to look at a move, and to call it off."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.api.post("/pools", {"name": "east", "memory_reserve": 0, "migration": {"bandwidth": 12 << 20}})
        for agent in cls.cluster.agents:
            cls.api.do("/pools/east/add", {"server": agent.name})

    def move(self, name, **more):
        job = self.api.post(f"/vms/{name}/migrate", {"to": self.second.name, **more})
        messages = []

        def far():
            now = self.api.get("/jobs/" + job["id"])
            if now["message"] not in messages:
                messages.append(now["message"])
            self.assertNotIn(now["state"], rest.ENDED, now)
            return now["progress"] > 20 and "memory:" in now["message"]
        cluster.wait_until(far, 60, "memory on its way")
        return job, messages

    def test_progress_and_abort(self):
        guest = self.guest("slow")
        job, messages = self.move("slow")
        self.assertRegex(messages[-1], r"memory: [\d.]+ MiB left, [\d.]+ MiB/s, about \d+ (s|min|h); the guest is paused")
        self.assertEqual(self.api.get("/vms/slow")["state"], "migrating")
        self.api.post(f"/jobs/{job['id']}/abort")
        self.assertEqual(self.api.wait_job(job)["state"], "aborted")
        self.assert_on("slow", self.first)
        guest.check()
        self.api.do("/vms/slow/migrate", {"to": self.second.name}, timeout=120)
        self.assert_on("slow", self.second)
        guest.check()

    def test_a_destination_that_hangs(self):
        guest = self.guest("hung")
        job, _ = self.move("hung")
        os.kill(self.second.guests()[self.api.get("/vms/hung")["id"]], signal.SIGSTOP)
        ended = self.api.wait_job(job, 120)
        self.assertEqual(ended["state"], "failed")
        self.assertIn("nothing has reached the other server", ended["error"])
        self.assert_on("hung", self.first)
        guest.check()

    def test_abort_of_a_suspended_one(self):
        guest = self.guest("slept")
        self.api.do("/vms/slept/suspend")
        job, _ = self.move("slept")
        self.api.post(f"/jobs/{job['id']}/abort")
        self.assertEqual(self.api.wait_job(job)["state"], "aborted")
        self.assert_on("slept", self.first, "suspended")
        self.api.do("/vms/slept/resume")
        guest.check()

    def test_without_encryption_where_the_policy_says_so(self):
        guest = self.guest("plain")
        self.api.patch("/pools/east", {"migration": {"bandwidth": 0, "tls": False}})
        self.addCleanup(lambda: self.api.patch("/pools/east", {"migration": {"bandwidth": 12 << 20, "tls": True}}))
        self.api.do("/vms/plain/migrate", {"to": self.second.name}, timeout=120)
        self.assert_on("plain", self.second)
        guest.check()
        self.api.patch("/pools/east", {"migration": {"tls": True}})
        self.api.do("/vms/plain/migrate", {"to": self.first.name}, timeout=120)
        guest.check()

    def first_hypervisor(self):
        return self.api.get("/servers/" + self.first.name)["hypervisors"][0]

    def cpu(self, name, agent):
        """What QEMU was told of its CPU."""
        with open(f"/proc/{agent.guests()[self.api.get('/vms/' + name)['id']]}/cmdline", "rb") as f:
            args = f.read().decode().split("\0")
        return args[args.index("-cpu") + 1]

    def test_it_keeps_its_cpu_wherever_it_is(self):
        model, kvm = self.api.get("/pools/east")["cpu_model"], self.first_hypervisor()["accelerator"] == "kvm"
        self.assertIn(model, self.api.get("/servers/" + self.second.name)["hardware"]["cpu_models"])
        guest = self.guest("common")
        self.assertEqual(self.api.get("/vms/common")["cpu_model"], model)
        self.assertRegex(self.cpu("common", self.first), f"^{model}(-v1)?,enforce" if kvm else "^max,")
        # It keeps that until it is started anew.
        self.api.patch("/pools/east", {"cpu_baseline": "kvm64", "migration": {"bandwidth": 0}})
        self.addCleanup(lambda: self.api.patch("/pools/east", {"cpu_baseline": "auto", "migration": {"bandwidth": 12 << 20}}))
        self.api.do("/vms/common/migrate", {"to": self.second.name}, timeout=120)
        self.assertRegex(self.cpu("common", self.second), f"^{model}(-v1)?,enforce" if kvm else "^max,")
        guest.check()
        self.api.do("/vms/common/kill")
        self.api.do("/vms/common/start", timeout=120)
        self.assertRegex(self.cpu("common", self.second), "^kvm64-v1,vendor=GenuineIntel,enforce" if kvm else "^max,")

    def test_post_copy(self):
        """The guest goes on at the destination before its memory is there."""
        guest = self.guest("early", memory=160 << 20)
        self.api.patch("/pools/east", {"migration": {"bandwidth": 0, "post_copy": True}})
        self.addCleanup(lambda: self.api.patch("/pools/east", {"migration": {"bandwidth": 12 << 20, "post_copy": False}}))
        for agent in (self.second, self.first):
            job = self.api.do("/vms/early/migrate", {"to": agent.name}, timeout=120)
            self.assertTrue([c for c in job["changes"] if "post-copy" in c.get("detail", "")], job["changes"])
            print("  " + "; ".join(c.get("detail", "") for c in job["changes"]), flush=True)
            self.assert_on("early", agent)
            guest.check()


class AsAnotherUser(MigrateCase):
    """QEMU runs as a user who can open nothing of the agent's (where we are root): the credentials come to it through a descriptor."""

    USER = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for agent in cls.cluster.agents:
            agent.stop()
            agent.start(more=("--guest-user", cls.USER) if os.geteuid() == 0 else ())
        cluster.wait_until(lambda: cls.cluster.connected() == 2, 60, "both agents")

    def test_both_ways(self):
        self.api.do("/disks", {"name": "own", "repository": "local1", "size": 16 << 20})
        self.addCleanup(lambda: self.api.remove("/disks/own"))
        guest = self.guest("other", disks=[{"disk": "own"}])
        with open(f"/proc/{self.first.guests()[self.api.get('/vms/other')['id']]}/status") as f:
            self.assertIn(f"Uid:\t{pwd.getpwnam(self.USER).pw_uid}\t", f.read())
        self.api.do("/vms/other/migrate", {"to": self.second.name, "disks": True}, timeout=120)
        self.assert_on("other", self.second)
        guest.check()
        self.api.do("/vms/other/migrate", {"to": self.first.name, "disks": True}, timeout=120)
        self.assert_on("other", self.first)
        guest.check()
