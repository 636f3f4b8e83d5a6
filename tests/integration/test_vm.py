# SPDX-License-Identifier: Apache-2.0
"""The life of virtual machines, with real guests: vm_create, vm_list, vm_show, vm_change, vm_start, vm_stop, vm_kill,
vm_restart, vm_suspend, vm_resume, vm_stats, vm_console, vm_delete."""

import time

import cluster
import rest


class Lifecycle(cluster.ClusterCase):
    def test_create_start_console_stop_delete(self):
        c = self.cluster
        before = c.agent.repository_files()
        vm = c.vm("one", start=False)
        self.assertEqual(vm["state"], "stopped")
        self.assertEqual(vm["memory"], 96 << 20)
        self.assertTrue(vm["direct_boot"])
        job = self.api.do("/vms/one/start")
        self.assertEqual(job["kind"], "vm.start")
        self.assertEqual(job["actor"], "admin")
        self.assertEqual(c.vm_state("one"), "running")
        with c.console("one") as console:
            console.prompt()
            output, status = console.command("selfcheck")
            self.assertEqual(status, 0)
            self.assertIn("selfcheck ok", output)
            self.api.do("/vms/one/stop", {"timeout": 30})
            with self.assertRaises(rest.ws.Closed) as closed:
                while True:
                    console.ws.receive(20)
            self.assertEqual(closed.exception.code, 4010)
        self.assertEqual(c.vm_state("one"), "stopped")
        self.assertEqual(c.agent.guests(), {})
        # Starting and stopping again is as good as the first time; stopping what is stopped says so.
        self.api.do("/vms/one/start")
        self.api.do("/vms/one/kill")
        self.assertEqual(c.vm_state("one"), "stopped")
        self.api.remove("/vms/one")
        self.refused(404, "not-found", "GET", "/vms/one")
        self.assertEqual(c.agent.repository_files(), before)

    def test_restart_suspend_resume(self):
        c = self.cluster
        vm = c.vm("two")
        first = c.agent.guests()[vm["id"]]
        with c.console("two") as console:
            console.prompt()
            console.command("touch /run/before; sleep 0.1")
            self.api.do("/vms/two/suspend")
            self.assertEqual(c.vm_state("two"), "suspended")
            console.send("echo AL''IVE\n")
            with self.assertRaises(TimeoutError):
                console.expect("ALIVE", 1.5)
            self.api.do("/vms/two/resume")
            self.assertEqual(c.vm_state("two"), "running")
            console.expect("ALIVE", 10)
        self.api.do("/vms/two/restart", {"timeout": 30})
        self.assertEqual(c.vm_state("two"), "running")
        with c.console("two") as console:
            console.prompt()
            self.assertNotEqual(console.command("test -e /run/before")[1], 0)
        self.assertTrue(cluster.gone(first))
        self.assertIn(vm["id"], c.agent.guests())
        self.api.do("/vms/two/kill")
        self.api.remove("/vms/two")

    def test_rename_and_change(self):
        c = self.cluster
        vm = c.vm("three")
        renamed = self.api.patch("/vms/three", {"name": "drei", "tags": ["a", "b"], "description": "renamed while it runs"})
        self.assertEqual((renamed["id"], renamed["name"], renamed["tags"]), (vm["id"], "drei", ["a", "b"]))
        self.refused(404, "not-found", "GET", "/vms/three")
        error = self.refused(409, "conflict", "PATCH", "/vms/drei", {"memory": 128 << 20})
        self.assertIn("stop", error["message"].lower())
        # The change is told to the agent by a job of its own, and what comes after waits for it.
        for job in self.api.list("/jobs", filter="kind=vm.policy"):
            self.assertEqual(self.api.wait_job(job)["state"], "done")
        self.refused(409, "conflict", "DELETE", "/vms/drei")
        self.api.do("/vms/drei/kill")
        changed = self.api.patch("/vms/drei", {"memory": 128 << 20, "cpus": 2})
        self.assertEqual((changed["memory"], changed["cpus"]), (128 << 20, 2))
        self.api.do("/vms/drei/start")
        with c.console("drei") as console:
            console.prompt()
            output = console.command("selfcheck")[0]
            self.assertIn("cpus 2 ", output)
            memory = int(output.split(" memory ")[1].split()[0])
            self.assertGreater(memory, 80 << 10)  # Debian 13's kernel keeps 41 MiB of 128 for itself
        self.api.do("/vms/drei/kill")
        self.api.remove("/vms/drei")

    def test_stop_of_a_guest_that_does_not_listen(self):
        c = self.cluster
        c.vm("deaf", cmdline="console=ttyS0 quiet init=/bin/sh rdinit=/bin/sh")
        began = time.monotonic()
        with self.assertRaises(rest.JobFailed) as failed:
            self.api.do("/vms/deaf/stop", {"timeout": 2})
        self.assertEqual(failed.exception.code, "timeout")
        self.assertLess(time.monotonic() - began, 12)
        self.assertEqual(c.vm_state("deaf"), "running")
        self.api.do("/vms/deaf/stop", {"timeout": 1, "force": True})
        self.assertEqual(c.vm_state("deaf"), "stopped")
        self.api.remove("/vms/deaf")

    def test_devices_of_q35(self):
        """Disks on every bus that the guest's kernel knows, several cards, cloud-init, VNC."""
        c = self.cluster
        c.vm("many", machine="q35", memory=192 << 20, display="vnc",
             disks=[{"size": 16 << 20, "bus": "virtio-blk"}, {"size": 32 << 20, "bus": "virtio-scsi"}],
             nics=[{"model": "virtio"}, {"model": "virtio", "mac": "52:54:00:aa:bb:cc"}],
             cloud_init={"user_data": "#cloud-config\nhostname: many-from-seed\n"})
        vm = self.api.get("/vms/many")
        self.assertEqual(len(vm["disks"]), 2)
        self.assertNotIn("cloud_init", vm)
        with c.console("many") as console:
            console.prompt(90)
            console.command("sleep 2")
            output, status = console.command("selfcheck --write")
            self.assertEqual(status, 0, output)
            self.assertIn("host many-from-seed", output)
            self.assertIn(f"disk vda {16 << 20} bytes", output)
            self.assertIn(f"disk sda {32 << 20} bytes", output)
            self.assertIn("mac 52:54:00:aa:bb:cc", output)
            self.assertIn("address 10.0.2.15/24", output)
        display = self.api.socket("/vms/many/console?type=vnc")
        self.assertTrue(display.receive().startswith(b"RFB 003."))
        display.close()
        self.api.do("/vms/many/stop", {"timeout": 30})
        self.assertEqual(len(self.api.list("/disks", filter="vm=many")), 2)
        self.api.remove("/vms/many")
        self.assertEqual(self.api.list("/disks"), [])

    def test_statistics(self):
        c = self.cluster
        c.vm("busy")
        with c.console("busy") as console:
            console.prompt()
            console.send("while :; do :; done &\n")

            def loaded():
                try:
                    return self.api.get("/vms/busy/stats")["cpu"] > 0.1  # of a machine that may be busy itself
                except rest.ApiError:
                    return False
            cluster.wait_until(loaded, 60, "the load of a busy guest")
            sample = self.api.get("/vms/busy/stats")
            self.assertGreater(sample["memory"], 20 << 20)
        server = self.api.get(f"/servers/{c.agent.name}/stats")
        self.assertGreater(server["memory_total"], 1 << 30)
        self.assertGreater(server["agent_memory"], 1 << 20)
        self.api.do("/vms/busy/kill")
        self.api.remove("/vms/busy")
        self.refused(404, "not-found", "GET", "/vms/busy/stats")

    def test_kill_passes_a_stop(self):
        c = self.cluster
        c.vm("slow", cmdline="console=ttyS0 quiet rdinit=/bin/sh")
        job = self.api.post("/vms/slow/stop", {"timeout": 600})
        cluster.wait_until(lambda: self.api.get("/jobs/" + job["id"])["state"] == "running", 10, "running")
        waiting = self.api.post("/vms/slow/kill")
        # A kill passes a stop that waits: it ends it.
        self.assertIn(self.api.wait_job(job)["state"], ("aborted", "failed", "done"))
        self.assertEqual(self.api.wait_job(waiting)["state"], "done")
        cluster.wait_until(lambda: c.vm_state("slow") == "stopped", 10, "stopped")
        self.api.remove("/vms/slow")

    def test_abort_of_a_stop(self):
        c = self.cluster
        c.vm("patient", cmdline="console=ttyS0 quiet rdinit=/bin/sh")
        job = self.api.post("/vms/patient/stop", {"timeout": 600})
        cluster.wait_until(lambda: c.vm_state("patient") == "stopping", 10, "stopping")
        self.api.post(f"/jobs/{job['id']}/abort")
        ended = self.api.wait_job(job)
        self.assertEqual((ended["state"], ended["aborted_by"]), ("aborted", "admin"))
        c.wait_vm("patient", "running", 10)
        self.api.do("/vms/patient/kill")
        self.api.remove("/vms/patient")

    def test_names_serve_as_well_as_ids(self):
        vm = self.cluster.vm("named", start=False)
        self.assertEqual(self.api.get("/vms/" + vm["id"]), self.api.get("/vms/named"))
        self.api.remove("/vms/" + vm["id"])
