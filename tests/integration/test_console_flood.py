# SPDX-License-Identifier: Apache-2.0
"""A client that sends far more to a guest's console than the guest takes harms nobody but itself."""

import time

import cluster
import ws


class Flood(cluster.ClusterCase):
    def test_one_user_leaves_consoles_for_others(self):
        self.cluster.vm("shared")
        self.api.post("/users", {"name": "greedy", "password": "longenough", "role": "operator"})
        greedy = self.cluster.manager.client().sign_in("greedy", "longenough")
        consoles = [greedy.socket("/vms/shared/console?type=serial") for _ in range(32)]
        with self.assertRaises(ws.Refused) as refused:
            greedy.socket("/vms/shared/console?type=serial")
        self.assertEqual(refused.exception.status, 429)
        self.api.socket("/vms/shared/console?type=serial").close()
        for console in consoles:
            console.close()

        def again():
            try:
                return greedy.socket("/vms/shared/console?type=serial")
            except ws.Refused:
                return None
        cluster.wait_until(again, 20, "room for one more").close()

    def test_one_large_frame_leaves_the_agent_alive(self):
        c = self.cluster
        c.vm("flooded")
        for size in (1 << 20, 3 << 20):
            socket = self.api.socket("/vms/flooded/console")
            socket.send(b"a" * size)
            time.sleep(1)
            socket.sock.close()
            time.sleep(1)
            self.api.do("/vms/flooded/suspend")
            self.api.do("/vms/flooded/resume")
            self.assertTrue(c.online(c.agent.name))
        self.api.do("/vms/flooded/kill")
        self.api.remove("/vms/flooded")
