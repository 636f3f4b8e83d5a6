# SPDX-License-Identifier: Apache-2.0
"""What a guest may take of its server: kept by control groups, from its first instruction and while it runs."""

import glob
import os
import time

import cluster

BUSY = "{ while :; do :; done & }"


def cpu_of(pid):
    """Seconds of CPU that a process has used."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Limits(cluster.ClusterCase):
    def setUp(self):
        self.names = []

    def tearDown(self):
        for name in self.names:
            self.api.do(f"/vms/{name}/kill")
            self.api.remove(f"/vms/{name}")
        self.wait_groups([])

    def make(self, name, **more):
        self.names.append(name)
        vm = self.cluster.vm(name, **more)
        return vm, self.cluster.agent.guests()[vm["id"]]

    def groups(self):
        """Our guests' groups on this machine, whichever version it has."""
        server = self.api.get("/servers/server1")["id"]
        found = glob.glob(f"/sys/fs/cgroup/*/tarn/*.{server}") + glob.glob(f"/sys/fs/cgroup/tarn/*.{server}")
        return sorted({os.path.basename(path).split(".")[0] for path in found})

    def wait_groups(self, wanted):
        cluster.wait_until(lambda: self.groups() == sorted(wanted), 30, f"groups {wanted}")

    def busy(self, name):
        with self.cluster.console(name) as console:
            console.send("\n")
            console.prompt()
            console.command(BUSY)

    def share(self, pid, seconds=4):
        before, at = cpu_of(pid), time.monotonic()
        time.sleep(seconds)
        return (cpu_of(pid) - before) / (time.monotonic() - at)

    def throttled(self, vm):
        """How often the kernel has held its group back."""
        n = 0
        for path in glob.glob(f"/sys/fs/cgroup/*/tarn/{vm}.*/cpu.stat") + glob.glob(f"/sys/fs/cgroup/tarn/{vm}.*/cpu.stat"):
            with open(path) as f:
                n += sum(int(line.split()[1]) for line in f if line.startswith("nr_throttled "))
        return n

    def wait_policy(self):
        def settled():
            jobs = self.api.list("/jobs", filter="kind=vm.policy")
            return all(job["state"] in ("done", "failed", "aborted") for job in jobs) and jobs
        return cluster.wait_until(settled, 30, "the job that tells the server")

    def test_the_server_says_how(self):
        how = self.api.get("/servers/server1")["hardware"]["limits"]
        self.assertIn(how, ("cgroup-v1", "cgroup-v2"), "this machine's control groups cannot be used by the tests")

    def test_without_limits_there_is_no_group(self):
        self.make("free")
        self.assertEqual(self.groups(), [])

    def test_cpu_cap(self):
        vm, pid = self.make("capped", limits={"cpu_cap": 50})
        self.assertEqual(self.groups(), [vm["id"]])
        self.busy("capped")
        share = self.share(pid)
        self.assertLess(share, 0.65)
        self.assertGreater(share, 0.02)  # it runs; a loaded machine does not give it all
        # While it runs: a tenth, and then none: the kernel holds it back no more.
        self.api.patch("/vms/capped", {"limits": {"cpu_cap": 10}})
        self.wait_policy()
        time.sleep(0.5)
        held_back = self.throttled(vm["id"])
        self.assertLess(self.share(pid), 0.15)
        self.assertGreater(self.throttled(vm["id"]), held_back)
        self.api.patch("/vms/capped", {"limits": {"cpu_cap": 0}})
        self.wait_policy()
        time.sleep(0.5)
        held_back = self.throttled(vm["id"])
        self.assertGreater(self.share(pid), 0.02)
        self.assertEqual(self.throttled(vm["id"]), held_back)

    def allowed(self, pid):
        """The CPUs that each of its threads may use."""
        found = set()
        for path in glob.glob(f"/proc/{pid}/task/*/status"):
            with open(path) as f:
                found |= {line.split()[1] for line in f if line.startswith("Cpus_allowed_list")}
        return found

    def test_pinning(self):
        vm, pid = self.make("pinned", limits={"pinning": "1"})
        self.assertEqual(self.allowed(pid), {"1"})
        self.api.patch("/vms/pinned", {"limits": {"pinning": "0"}})
        self.wait_policy()
        self.assertEqual(self.allowed(pid), {"0"})
        self.api.patch("/vms/pinned", {"limits": {"pinning": ""}})
        self.wait_policy()
        self.assertNotEqual(self.allowed(pid), {"0"})
        self.assertEqual(self.groups(), [vm["id"]])

    def test_a_guest_that_runs_gets_its_first(self):
        vm, pid = self.make("late")
        self.assertEqual(self.groups(), [])
        self.api.patch("/vms/late", {"limits": {"pinning": "1", "cpu_shares": 200}})
        self.wait_policy()
        self.assertEqual(self.groups(), [vm["id"]])
        self.assertEqual(self.allowed(pid), {"1"})
        # They hold at its next start too, and after a restart of the agent.
        self.cluster.agent.stop()
        self.cluster.agent.start()
        self.cluster.wait_online("server1")
        self.assertEqual(self.groups(), [vm["id"]])
        self.api.do("/vms/late/restart", {"force": True, "timeout": 1})
        self.assertEqual(self.allowed(self.cluster.agent.guests()[vm["id"]]), {"1"})

    def test_memory_max(self):
        vm, _ = self.make("small", limits={"memory_max": 400 << 20})
        values = []
        for path in glob.glob(f"/sys/fs/cgroup/memory/tarn/{vm['id']}.*/memory.limit_in_bytes") + \
                glob.glob(f"/sys/fs/cgroup/tarn/{vm['id']}.*/memory.max"):
            with open(path) as f:
                values.append(int(f.read()))
        self.assertEqual(values, [400 << 20])
        for path in glob.glob(f"/sys/fs/cgroup/*/tarn/{vm['id']}.*/cgroup.procs"):
            with open(path) as f:
                self.assertEqual(len(f.read().split()), 1, path)

    def test_memory_max_is_too_little(self):
        self.make("greedy", limits={"memory_max": 100 << 20})
        # It may not even come to its prompt: QEMU itself needs half of that.
        try:
            with self.cluster.console("greedy") as console:
                console.send("\n")
                console.prompt(20)
                console.send("head -c 80000000 /dev/zero > /dev/shm/x || head -c 80000000 /dev/zero > /tmp/x; tail /dev/zero\n")
        except (TimeoutError, OSError, cluster.rest.ws.Closed, cluster.rest.ws.Refused):
            pass
        self.cluster.wait_vm("greedy", "crashed", 60)
        self.assertIn("memory_max", self.api.get("/vms/greedy")["state_reason"])

    def test_numa_node(self):
        _, pid = self.make("near", limits={"numa_node": 0})
        node = self.api.get("/servers/server1")["hardware"]["numa"][0]
        self.assertEqual(self.allowed(pid), {node["cpus"]})

    def test_refused(self):
        body = {"name": "no", "template": "tiny", "display": "none"}
        for limits, field in (({"pinning": "x"}, "limits.pinning"), ({"pinning": "0-"}, "limits.pinning"),
                              ({"memory_max": 16 << 20}, "limits.memory_max"), ({"cpu_cap": -1}, "limits.cpu_cap")):
            error = self.refused(400, "invalid", "POST", "/vms", dict(body, limits=limits))
            self.assertEqual(error["field"], field)
        for limits, words in (({"pinning": "700"}, "not all of the CPUs 700"), ({"numa_node": 77}, "no NUMA node 77")):
            # Another server may be able to: it is when it starts that one must.
            with self.assertRaises((cluster.rest.ApiError, cluster.rest.JobFailed)) as failed:
                self.api.do("/vms", dict(body, limits=limits, start=True))
            self.assertEqual(failed.exception.code, "no-capacity")
            self.assertIn(words, failed.exception.message)

    def test_command_line(self):
        _, pid = self.make("cli")
        done = self.cluster.cli("vm", "set", "cli", "--pinning", "0", "--cpu-cap", "150")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.wait_policy()
        self.assertEqual(self.allowed(pid), {"0"})
