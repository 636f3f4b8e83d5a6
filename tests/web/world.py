# SPDX-License-Identifier: Apache-2.0
"""A manager with the console, agents and guests for the browser's tests, told what to do line by line.

    stdin   {"id": 1, "do": "NAME", "with": {...}}
    stdout  {"id": 1, "result": ...} or {"id": 1, "error": "..."}

It ends, with all that it has started, when its standard input does.
"""

import json
import os
import signal
import subprocess
import sys
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests/lib"), os.path.join(ROOT, "bench")]
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import rest  # noqa: E402
import simulated  # noqa: E402

PASSWORD = "correct horse battery"


class World:
    def __init__(self):
        self.cluster = None

    @staticmethod
    def with_console(manager):
        manager.console_dir = os.environ.get("TARN_CONSOLE", os.path.join(ROOT, "web/dist"))

    def start(self, agents=1, driver="qemu", template=True):
        c = cluster.Cluster(agents, driver=driver, prefix="tarn-w-")
        self.with_console(c.manager)
        self.cluster = c
        c.start()
        c.repository()
        if template:
            c.tiny_template()
        return self.about()

    def simulated(self, servers=3):
        """Servers that agents pretend, in a pool with a repository that all have: what a clustered one would start on this machine
        (corosync) is no matter for the console."""
        c = simulated.SimulatedCluster(servers, prefix="tarn-w-")
        self.with_console(c.manager)
        self.cluster = c
        c.start()
        c.api.post("/pools", {"name": "pool"})
        c.api.do("/repositories", {"name": "shared", "server": c.names[0], "path": "/sim/shared"})
        for number, name in enumerate(c.names):
            c.api.do("/pools/pool/add", {"server": name})
            if number:
                c.api.do("/repositories/shared/present", {"server": name})
        return {**self.about(), "servers": c.names}

    def lose_servers(self):
        """All simulated ones, which are one process; returns when the manager has noticed."""
        c = self.cluster
        c.simulated.kill()
        cluster.wait_until(lambda: not any(c.online(name) for name in c.names), 60, "the servers offline")

    def big(self):
        """30,000 virtual machines, copied in the store."""
        import inventory
        c = inventory.big(self.with_console)
        self.cluster = c
        c.api = c.manager.client().sign_in("admin", c.manager.password())
        return self.about()

    def about(self):
        c = self.cluster
        return {"url": c.manager.url, "password": c.manager.password(), "directory": c.dir, "token": c.api.token}

    def user(self, name, role):
        self.cluster.api.post("/users", {"name": name, "role": role, "password": PASSWORD})
        return PASSWORD

    def api(self, method, path, body=None, token=None):
        client = self.cluster.api.copy(token) if token else self.cluster.api
        answer = client.raw(method, path, body)
        return {"status": answer.status, "body": answer.json if answer.data else None}

    def job(self, path, body=None, timeout=120):
        return self.cluster.api.do(path, body, timeout)

    def vm(self, name, **more):
        return self.cluster.vm(name, **more)

    def kill_guests(self):
        """What earlier tests have left running."""
        for vm in self.cluster.api.list("/vms"):
            if vm["state"] not in ("stopped", "crashed"):
                try:
                    self.cluster.api.do(f"/vms/{vm['id']}/kill", {})
                except (rest.JobFailed, rest.ApiError):  # one that an earlier test deletes may be gone
                    if vm["id"] in [left["id"] for left in self.cluster.api.list("/vms") if left["state"] != "deleting"]:
                        raise

    def kill_manager(self):
        self.cluster.manager.kill()

    def start_manager(self):
        self.cluster.api.close()
        self.cluster.manager.start()
        for agent in self.cluster.agents:
            self.cluster.wait_online(agent.name)

    def pause_agent(self, on, number=0):
        """Holds an agent, so that a job stays where it is."""
        os.kill(self.cluster.agents[number].pid, signal.SIGSTOP if on else signal.SIGCONT)

    def file(self, name, size):
        """A file to be uploaded: a raw image with a boot sector, else empty."""
        path = os.path.join(self.cluster.dir, name)
        with open(path, "wb") as f:
            f.truncate(size)
            f.seek(510)
            f.write(b"\x55\xaa")
        return path

    def iso(self, name):
        """A small CD."""
        folder, path = os.path.join(self.cluster.dir, "cd"), os.path.join(self.cluster.dir, name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "readme.txt"), "w", encoding="ascii") as f:
            f.write("a file\n")
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-V", "SMALL", "-o", path, folder], check=True, stdout=sys.stderr)
        return path

    def images(self):
        return cluster.images()

    def close(self):
        c, self.cluster = self.cluster, None
        if c:
            for agent in c.agents:
                if agent.running():
                    os.kill(agent.pid, signal.SIGCONT)
            c.close()


def main():
    world = World()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                result = getattr(world, request["do"])(**request.get("with", {}))
                answer = {"id": request["id"], "result": result}
            except (Exception, SystemExit) as error:  # pylint: disable=broad-except
                traceback.print_exc(file=sys.stderr)
                if isinstance(error, SystemExit):
                    raise
                text = error.message if isinstance(error, rest.ApiError) else str(error)
                answer = {"id": request["id"], "error": text}
            print(json.dumps(answer), flush=True)
    finally:
        world.close()


main()
