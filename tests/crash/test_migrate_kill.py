# SPDX-License-Identifier: Apache-2.0
"""Live migrations ("vm.migrate") of a guest that checks itself, in which something is killed at one instant after another: the agent of
the source or of the destination, the manager, QEMU on either side; or one of them stands still for a while. Whatever it was, the
guest runs once in the end, where the inventory says, and has lost nothing; only where its own QEMU was killed it has crashed."""

import contextlib
import os
import random
import signal
import time
import unittest

import checker
import cluster
import rest

FULL = os.environ.get("CRASH") == "full"
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "12" if FULL else "1"))
CUT_OFF = (OSError, rest.http.client.HTTPException, rest.ApiError)


class Kills(unittest.TestCase):
    DISKS = False  # they move too
    POST_COPY = False

    @classmethod
    def setUpClass(cls):
        cls.cluster = c = cluster.Cluster(2, prefix="tarn-k-")
        cls.addClassCleanup(cls.cluster.close)
        c.start()
        cls.random = random.Random(int(os.environ.get("CRASH_SEED", time.time())))
        cls.points = {}
        for number, agent in enumerate(c.agents):
            c.repository("local" + str(number + 1), agent)
        c.api.do("/repositories", {"name": "shared", "server": c.agents[0].name, "path": os.path.join(c.dir, "shared")})
        c.api.do("/repositories/shared/present", {"server": c.agents[1].name})
        c.api.post("/pools", {"name": "east", "memory_reserve": 0, "migration": {"bandwidth": 60 << 20, "post_copy": cls.POST_COPY}})
        for number, agent in enumerate(c.agents):
            c.api.do("/pools/east/add", {"server": agent.name})
            c.api.patch("/servers/" + agent.name, {"addresses": [{"address": f"127.0.0.{number + 2}", "roles": ["migration"]}]})
        kernel, initrd = checker.images(c.dir)
        c.api.do("/templates", {"name": "tiny", "repository": "shared", "kernel_image": {"path": kernel},
                                "initrd_image": {"path": initrd}, "machine": "q35", "memory": 112 << 20,
                                "cmdline": "console=ttyS0 quiet"}, timeout=120)
        c.api.do("/disks", {"name": "own", "repository": "local1" if cls.DISKS else "shared", "size": 32 << 20})
        c.api.do("/vms", {"name": "crash", "template": "tiny", "pool": "east", "server": c.agents[0].name, "display": "none",
                          "restart_policy": "never", "disks": [{"disk": "own"}]})

    @classmethod
    def tearDownClass(cls):
        print("  " + ", ".join(f"{what}: {n}" for what, n in sorted(cls.points.items())), flush=True)

    # ---- how things stand ----

    def where(self):
        """The agents: that of the server on which it is, and the other."""
        key = self.cluster.api.get("/vms/crash")["server"]
        name = self.cluster.api.get("/servers/" + key)["name"]
        return sorted(self.cluster.agents, key=lambda agent: agent.name != name)

    def boot(self):
        """A guest that runs and checks itself, on either server."""
        if self.cluster.vm_state("crash") == "running":
            return
        self.cluster.api.do("/vms/crash/start", timeout=120)
        type(self).guest = checker.Checked(self.cluster, "crash")

    def settle(self, timeout=90):
        c = self.cluster
        if not c.manager.running():
            c.api.close()
            c.manager.start()
        for agent in c.agents:
            if not agent.running():
                agent.start()
            c.wait_online(agent.name, timeout)
        cluster.wait_until(lambda: c.connected() == 2, timeout, "both agents")

        def jobs():
            return [job for job in c.api.get("/jobs", limit=20)["items"] if job["state"] not in rest.ENDED]
        try:
            cluster.wait_until(lambda: not jobs(), timeout, "the end of every job")
        except TimeoutError:
            logs = "\n".join(daemon.tail() for daemon in [c.manager, *c.agents])
            raise AssertionError(f"jobs that do not end: {cluster.pretty(jobs())}\n{logs}") from None

    def told(self):
        """Waits until the inventory says what is there: that a process has ended may be known a moment later."""
        def same():
            vm = self.cluster.api.get("/vms/crash")
            return (vm["state"] == "running") == (vm["id"] in self.where()[0].guests())
        with contextlib.suppress(TimeoutError):
            cluster.wait_until(same, 10)

    def check(self, what, died):
        c = self.cluster
        self.told()
        vm = c.api.get("/vms/crash")
        job = next(job for job in c.api.get("/jobs", limit=50)["items"] if job["kind"] == "vm.migrate")
        about = f"{what}: {cluster.pretty(vm)}\n{cluster.pretty(job)}"
        here, there = self.where()
        deadline = time.monotonic() + 10
        while there.guests() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(there.guests(), {}, about)
        self.assertEqual(vm["target"], "", about)
        try:
            self.assertEqual((vm["state"], list(here.guests())), ("running", [vm["id"]]))
            self.guest.check(2)
        except (AssertionError, *CUT_OFF) as error:
            self.told()
            after = c.api.get("/vms/crash")["state"], here.guests()  # it may have died since
            if not died or after != ("crashed", {}):
                logs = "\n".join(daemon.tail() for daemon in [c.manager, *c.agents])
                raise AssertionError(f"{error}; then {after}\n{about}\n{logs}") from None
        for server in c.api.list("/servers"):
            self.assertEqual(server["unknown_guests"], [], about)
        disk, files = c.api.get("/disks/own"), []
        for folder in [agent.repository for agent in c.agents] + [os.path.join(c.dir, "shared")]:
            path = os.path.join(folder, "disks")
            files += [os.path.join(path, name) for name in (os.listdir(path) if os.path.isdir(path) else [])]
        self.assertEqual([os.path.basename(path) for path in files], [disk["id"] + ".qcow2"], about)
        for agent in c.agents:
            left = [name for name in os.listdir(os.path.join(agent.state, "guests")) if agent is there and name == vm["id"]]
            self.assertEqual(left, [], about)

    # ---- one kill ----

    def attempt(self, what, kill, died=False):
        """Begins a migration, and after a while of chance does kill(source, destination)."""
        self.boot()
        source, destination = self.where()
        body = {"to": destination.name, "disks": self.DISKS}
        delay = self.random.uniform(0, 3.5 if self.DISKS else 2.2)
        try:
            job = self.cluster.api.post("/vms/crash/migrate", body)
            time.sleep(delay)
            kill(source, destination)
        except CUT_OFF as error:
            self.fail(f"{what}: {error}")
        time.sleep(self.random.uniform(0, 1))
        self.settle()
        state = self.cluster.api.get("/jobs/" + job["id"])["state"]
        self.check(f"{what} after {delay:.2f} s (job {state})", died)
        key = f"{what} ({state})"
        self.points[key] = self.points.get(key, 0) + 1

    def qemu(self, agent):
        vm = self.cluster.api.get("/vms/crash")["id"]
        pid = agent.guests().get(vm)
        if pid:
            cluster.kill_pid(pid)

    def stand_still(self, daemon):
        """Longer than a connection is waited for."""
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(1, 17))
        daemon.process.send_signal(signal.SIGCONT)

    def test_source_agent(self):
        for _ in range(ROUNDS):
            self.attempt("source's agent killed", lambda source, destination: source.kill())

    def test_destination_agent(self):
        for _ in range(ROUNDS):
            self.attempt("destination's agent killed", lambda source, destination: destination.kill())

    def test_both_agents(self):
        for _ in range(ROUNDS):
            self.attempt("both agents killed", lambda source, destination: (source.kill(), destination.kill()))

    def test_manager(self):
        for _ in range(ROUNDS):
            self.attempt("manager killed", lambda source, destination: self.cluster.manager.kill())

    def test_source_qemu(self):
        for _ in range(ROUNDS):
            self.attempt("source's QEMU killed", lambda source, destination: self.qemu(source), died=True)

    def test_destination_qemu(self):
        for _ in range(ROUNDS):
            # After the switch it is the guest.
            self.attempt("destination's QEMU killed", lambda source, destination: self.qemu(destination), died=True)

    def test_abort(self):
        def abort(source, destination):
            job = self.cluster.api.get("/jobs", limit=5)["items"][0]
            self.cluster.api.raw("POST", f"/jobs/{job['id']}/abort")
        for _ in range(ROUNDS):
            self.attempt("aborted", abort)

    def test_agents_that_stand_still(self):
        for daemon in range(ROUNDS):
            self.attempt("an agent stands still", lambda *agents, which=daemon % 2: self.stand_still(agents[which]))


class KillsWithDisks(Kills):
    DISKS = True


class KillsWithPostCopy(Kills):
    """While its memory still comes, the guest needs both sides: it may have crashed at the destination."""

    POST_COPY = True

    def check(self, what, died):
        super().check(what, died or "QEMU" in what)
