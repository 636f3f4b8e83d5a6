# SPDX-License-Identifier: Apache-2.0
"""A manager with simulated servers: real agents in one process, with no guest behind."""

import os

import cluster


class SimulatedServers(cluster.Daemon):
    """tarn-agent --sim. Its guests end with it."""

    def __init__(self, of, count, latency=10):
        super().__init__(of, "simulated")
        self.count, self.latency = count, latency

    def start(self):
        token = self.cluster.api.post("/server-tokens", {"name": "simulated", "uses": self.count})
        self.spawn([cluster.AGENT, "--sim", f"servers={self.count}", "--sim-latency", str(self.latency),
                    "--manager", self.cluster.manager.url, "--token", token["secret"] + "." + token["ca_fingerprint"],
                    "--state-dir", os.path.join(self.cluster.dir, "simulated")])

        def there():
            if not self.running():
                raise AssertionError(f"the simulated servers have ended; {self.tail()}")
            return len(self.names()) == self.count and self.cluster.connected() == self.count
        cluster.wait_until(there, 60 + self.count, f"{self.count} simulated servers")

    def names(self):
        return sorted(s["name"] for s in self.cluster.api.list("/servers") if s["state"] == "online")


class SimulatedCluster(cluster.Cluster):
    def __init__(self, servers, prefix="tarn-s-"):
        super().__init__(0, prefix=prefix)
        self.simulated = SimulatedServers(self, servers)
        self.agents = [self.simulated]

    def start(self):
        super().start()
        self.simulated.start()
        self.names = self.simulated.names()
        for number, name in enumerate(self.names):
            self.api.do("/repositories", {"name": f"local{number + 1}", "server": name, "path": f"/sim/{number + 1}"})
        return self

    def server_of(self, vm):
        key = self.api.get("/vms/" + vm)["server"]
        return next(s["name"] for s in self.api.list("/servers") if s["id"] == key)
