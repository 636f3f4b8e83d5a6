# SPDX-License-Identifier: Apache-2.0
"""A client that sends far more to a guest's console than the guest takes harms nobody but itself."""

import time

import cluster


class Flood(cluster.ClusterCase):
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
