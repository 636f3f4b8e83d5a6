# SPDX-License-Identifier: Apache-2.0
"""What happens inside a guest, or to its process, is seen at once and obeys the restart policy."""

import time

import cluster


class GuestEvents(cluster.ClusterCase):
    def events(self, name):
        return [event["kind"] for event in self.api.get("/events", limit=200)["items"]
                if event.get("object", {}).get("name") == name]

    def remove(self, name):
        if self.cluster.vm_state(name) != "stopped":
            self.api.do(f"/vms/{name}/kill")
        self.api.remove(f"/vms/{name}")

    def test_power_off_inside(self):
        c = self.cluster
        c.vm("off", restart_policy="on-failure")
        with c.console("off") as console:
            console.prompt()
            console.send("poweroff -f\n")
            c.wait_vm("off", "stopped", 30)  # who closes at once may close before the guest has read it
        self.assertEqual(c.agent.guests(), {})
        self.assertEqual(self.api.get("/vms/off")["restarts"], 0)
        self.remove("off")

    def test_power_off_inside_with_policy_always(self):
        c = self.cluster
        vm = c.vm("again", restart_policy="always")
        first = c.agent.guests()[vm["id"]]
        with c.console("again") as console:
            console.prompt()
            console.send("poweroff -f\n")
            cluster.wait_until(lambda: self.api.get("/vms/again")["restarts"] == 1 and c.vm_state("again") == "running",
                               30, "a restart")
        self.assertNotEqual(c.agent.guests()[vm["id"]], first)
        # What the administrator stops stays stopped.
        with c.console("again") as console:
            console.prompt()
        self.api.do("/vms/again/stop", {"timeout": 30})
        time.sleep(2)
        self.assertEqual(c.vm_state("again"), "stopped")
        self.remove("again")

    def test_reset_inside(self):
        c = self.cluster
        c.vm("reset")
        with c.console("reset") as console:
            console.prompt()
            console.command("touch /run/before")
            console.send("reboot -f\n")
            time.sleep(0.5)
            console.prompt(60)
            self.assertNotEqual(console.command("test -e /run/before")[1], 0)
        self.assertEqual(c.vm_state("reset"), "running")
        self.remove("reset")

    def test_panic_inside(self):
        c = self.cluster
        for policy in ("never", "on-failure"):
            with self.subTest(policy):
                name = "panic-" + policy
                # pvpanic is a device of q35.
                c.vm(name, restart_policy=policy, machine="q35", memory=128 << 20)
                with c.console(name) as console:
                    console.prompt(90)
                    console.send("echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger\n")
                    console.expect("Kernel panic", 20)
                if policy == "never":
                    c.wait_vm(name, "crashed", 10)
                    self.assertIn("panic", self.api.get(f"/vms/{name}")["state_reason"].lower())
                else:
                    cluster.wait_until(lambda n=name: self.api.get(f"/vms/{n}")["restarts"] == 1
                                       and c.vm_state(n) == "running", 20, "a restart after the panic")
                self.remove(name)

    def test_qemu_killed_outside_is_noticed_within_a_second(self):
        c = self.cluster
        vm = c.vm("killed", restart_policy="never")
        pid = c.agent.guests()[vm["id"]]
        began = time.monotonic()
        cluster.kill_pid(pid)
        cluster.wait_until(lambda: c.vm_state("killed") != "running", 5, "noticing", pause=0.01)
        took = time.monotonic() - began
        self.assertLess(took, 1.0)
        vm = self.api.get("/vms/killed")
        self.assertEqual(vm["state"], "crashed", "never reported as a clean stop")
        self.assertTrue(vm["state_reason"])
        self.api.do("/vms/killed/start")
        self.assertEqual(c.vm_state("killed"), "running")
        self.remove("killed")

    def test_qemu_killed_outside_with_policy_on_failure(self):
        c = self.cluster
        vm = c.vm("phoenix", restart_policy="on-failure")
        pid = c.agent.guests()[vm["id"]]
        cluster.kill_pid(pid)
        cluster.wait_until(lambda: self.api.get("/vms/phoenix")["restarts"] == 1 and c.vm_state("phoenix") == "running",
                           20, "a restart")
        self.assertNotEqual(c.agent.guests()[vm["id"]], pid)
        self.assertTrue([kind for kind in self.events("phoenix") if kind.startswith("vm.")])
        self.remove("phoenix")
