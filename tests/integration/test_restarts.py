# SPDX-License-Identifier: Apache-2.0
"""Agent and manager come and go while guests run."""

import time

import cluster
import rest


class Restarts(cluster.ClusterCase):
    def tearDown(self):
        c = self.cluster
        if not c.agent.running():
            c.agent.start()
        c.wait_online(c.agent.name)
        for vm in self.api.list("/vms"):
            if vm["state"] != "stopped":
                self.api.do(f"/vms/{vm['id']}/kill")
            self.api.remove(f"/vms/{vm['id']}")

    def test_agent_killed_and_started_again(self):
        c = self.cluster
        vm = c.vm("kept")
        pid = c.agent.guests()[vm["id"]]
        console = c.console("kept")
        console.prompt()
        console.command("echo mark >/run/mark")
        c.agent.kill()
        with self.assertRaises(rest.ws.Closed) as closed:
            while True:
                console.ws.receive(20)
        self.assertIn(closed.exception.code, (4011, 1006))
        cluster.wait_until(lambda: not c.online(c.agent.name), 20, "offline")
        c.wait_vm("kept", "unknown", 30)
        self.assertFalse(cluster.gone(pid), "the guest must not fall with the agent")
        c.agent.start()
        c.wait_online(c.agent.name)
        c.wait_vm("kept", "running", 10)
        self.assertEqual(c.agent.guests(), {vm["id"]: pid})
        with c.console("kept") as console:
            console.send("\n")
            console.prompt()
            self.assertEqual(console.command("cat /run/mark")[0], "mark\n")
        self.api.do("/vms/kept/stop", {"timeout": 30})
        self.assertTrue(cluster.gone(pid))

    def test_what_changed_while_the_agent_was_away(self):
        c = self.cluster
        off, dead, same = c.vm("off"), c.vm("dead"), c.vm("same")
        with c.console("off") as console:
            console.prompt()
            console.send("(sleep 2; poweroff -f) &\n")
            time.sleep(0.3)
        guests = c.agent.guests()
        c.agent.kill()
        cluster.kill_pid(guests[dead["id"]])
        time.sleep(4)
        c.agent.start()
        c.wait_online(c.agent.name)
        c.wait_vm("off", "stopped", 10)
        c.wait_vm("dead", "crashed", 10)
        c.wait_vm("same", "running", 10)
        self.assertEqual(c.agent.guests(), {same["id"]: guests[same["id"]]})
        self.assertEqual(off["name"], "off")

    def test_restart_policy_after_the_agent_was_away(self):
        c = self.cluster
        vm = c.vm("back", restart_policy="on-failure")
        pid = c.agent.guests()[vm["id"]]
        c.agent.kill()
        cluster.kill_pid(pid)
        c.agent.start()
        c.wait_online(c.agent.name)
        cluster.wait_until(lambda: c.vm_state("back") == "running" and vm["id"] in c.agent.guests(), 20, "the restart")

    def test_manager_killed_while_a_guest_runs(self):
        c = self.cluster
        vm = c.vm("steady")
        guests = c.agent.guests()
        c.restart_manager(kill=True)
        c.wait_vm("steady", "running", 10)
        self.assertEqual(c.agent.guests(), guests)
        self.assertEqual(self.api.get("/vms/steady")["id"], vm["id"])
        with c.console("steady") as console:
            console.send("\n")
            console.prompt()

    def test_guest_changes_while_the_manager_is_away(self):
        c = self.cluster
        c.vm("quiet")
        with c.console("quiet") as console:
            console.prompt()
            console.send("(sleep 1; poweroff -f) &\n")
            time.sleep(0.3)
        c.manager.stop()
        time.sleep(2)
        self.api.close()
        c.manager.start()
        c.wait_online(c.agent.name)
        c.wait_vm("quiet", "stopped", 10)

    def test_orderly_end_leaves_guests_running(self):
        c = self.cluster
        vm = c.vm("outlives")
        pid = c.agent.guests()[vm["id"]]
        self.assertIn(c.agent.stop(), (0, -15))
        self.assertFalse(cluster.gone(pid))
        c.agent.start()
        c.wait_online(c.agent.name)
        c.wait_vm("outlives", "running", 10)

    def test_a_job_that_waits_for_an_agent_goes_on_when_it_returns(self):
        c = self.cluster
        c.vm("later", start=False)
        c.agent.kill()
        cluster.wait_until(lambda: not c.online(c.agent.name), 20, "offline")
        answer = self.api.raw("POST", "/vms/later/start")
        if answer.status >= 400:
            self.assertEqual((answer.status, answer.json["code"]), (503, "unavailable"))
            self.assertIn(c.agent.name, answer.json["message"])
            return
        job = answer.json
        c.agent.start()
        self.assertIn(self.api.wait_job(job, 60)["state"], ("done", "failed"))
