# SPDX-License-Identifier: Apache-2.0
"""What each kind of job is tried on, and what all or nothing means for it.

A scenario: prepare() makes what the request needs, request() sends it and returns the job (or None where the answer is no
job), outcome(done) checks what must hold when the job has ended well (done) or was undone, tidy() removes what is left. Each
works on objects named "crash" and leaves the template "base" (a small disk and a kernel) alone.
"""

import os
import time

import iso
import rest


def present(api, path):
    return api.raw("GET", path).status == 200


class Scenario:
    internal = False  # a job that no operation answers with

    def __init__(self, cluster):
        self.c, self.api = cluster, cluster.api

    def prepare(self):
        pass

    def outcome(self, done):
        pass

    def tidy(self):
        for kind in ("vms", "disks", "templates", "isos", "uploads"):
            for item in self.api.list("/" + kind):
                if item["name"].startswith("crash"):
                    if kind == "vms" and item["state"] not in ("stopped", "crashed"):
                        self.api.do(f"/vms/{item['id']}/kill")
                    self.api.remove(f"/{kind}/{item['id']}")
        if present(self.api, "/repositories/crash"):
            self.api.remove("/repositories/crash")

    def check(self, condition, what):
        if not condition:
            raise AssertionError(f"{type(self).__name__}: {what}")

    def vm(self, start, **more):
        body = {"name": "crash", "template": "base", "start": start, "display": "none", "restart_policy": "never"}
        body.update(more)
        self.api.do("/vms", body)


class RepositoryCreate(Scenario):
    def request(self):
        return self.api.post("/repositories", {"name": "crash", "server": self.c.agent.name, "path": self.c.dir + "/crash.repo"})

    def outcome(self, done):
        self.check(present(self.api, "/repositories/crash") == done, "repository in the inventory")


class RepositoryDelete(RepositoryCreate):
    def prepare(self):
        self.api.wait_job(super().request())

    def request(self):
        return self.api.delete("/repositories/crash")

    def outcome(self, done):
        super().outcome(not done)


class DiskCreate(Scenario):
    def request(self):
        return self.api.post("/disks", {"name": "crash", "size": 4 << 20})

    def outcome(self, done):
        self.check(present(self.api, "/disks/crash") == done, "disk in the inventory")


class DiskDelete(DiskCreate):
    def prepare(self):
        self.api.wait_job(super().request())

    def request(self):
        return self.api.delete("/disks/crash")

    def outcome(self, done):
        super().outcome(not done)


class IsoCreate(Scenario):
    name = "crash"

    def request(self):
        path = self.c.dir + "/crash.iso"
        if not os.path.exists(path):
            iso.make(path, "CRASH", {"file": b"x" * 100000})
        return self.api.post("/isos", {"name": self.name, "image": {"path": path}})

    def outcome(self, done):
        self.check(present(self.api, "/isos/crash") == done, "ISO image in the inventory")


class IsoDelete(IsoCreate):
    def prepare(self):
        self.api.wait_job(super().request())

    def request(self):
        return self.api.delete("/isos/crash")

    def outcome(self, done):
        super().outcome(not done)


class VmCdrom(IsoCreate):
    """Another CD goes into a guest that runs."""

    def prepare(self):
        self.api.wait_job(super().request())
        self.name = "crash-2"
        self.api.wait_job(super().request())
        self.api.do("/vms", {"name": "crash", "cdrom": "crash", "memory": 64 << 20, "nics": [], "start": True, "display": "none",
                             "restart_policy": "never"})

    def request(self):
        return self.api.post("/vms/crash/cdrom", {"iso": "crash-2"})

    def outcome(self, done):
        has = self.api.get("/vms/crash")["disks"][0]["iso"]
        self.check(has == self.api.get("/isos/" + ("crash-2" if done else "crash"))["id"], "what is in the drive")


class UploadCreate(Scenario):
    internal = True

    def request(self):
        # The answer comes when the agent has made the file, and its agent may be gone.
        self.api.call("POST", "/uploads", {"name": "crash", "size": 4096}, timeout=2)

    def outcome(self, done):
        names = [u["name"] for u in self.api.list("/uploads")]
        self.check(names in ([], ["crash"]), names)


class UploadDelete(Scenario):
    def prepare(self):
        self.key = self.api.upload("crash", b"x" * 4096)

    def request(self):
        return self.api.delete("/uploads/" + self.key)

    def outcome(self, done):
        self.check(present(self.api, "/uploads/" + self.key) == (not done), "upload in the inventory")


class TemplateCreate(Scenario):
    def request(self):
        return self.api.post("/templates", {"name": "crash", "image": {"path": self.c.dir + "/base.qcow2"}})

    def outcome(self, done):
        self.check(present(self.api, "/templates/crash") == done, "template in the inventory")


class TemplateDelete(TemplateCreate):
    def prepare(self):
        self.api.wait_job(super().request())

    def request(self):
        return self.api.delete("/templates/crash")

    def outcome(self, done):
        super().outcome(not done)


class VmCreate(Scenario):
    def request(self):
        return self.api.post("/vms", {"name": "crash", "template": "base", "start": True, "display": "none",
                                      "disks": [{"size": 2 << 20}, {"image": {"path": self.c.dir + "/base.qcow2"}}],
                                      "restart_policy": "never"})

    def outcome(self, done):
        self.check(present(self.api, "/vms/crash") == done, "VM in the inventory")
        if done:
            self.check(self.c.vm_state("crash") == "running", "it is to be started")
        else:
            self.check([d for d in self.api.list("/disks") if d["name"].startswith("crash")] == [], "disks left")


class VmDelete(Scenario):
    def prepare(self):
        self.vm(False)

    def request(self):
        return self.api.delete("/vms/crash")

    def outcome(self, done):
        self.check(present(self.api, "/vms/crash") == (not done), "VM in the inventory")
        if not done:
            self.check(self.c.vm_state("crash") == "stopped", self.c.vm_state("crash"))


class State(Scenario):
    """A change of state: before, after, whether the VM is started beforehand."""

    verb, before, after, body = "", "stopped", "running", None

    def prepare(self):
        self.vm(self.before != "stopped")
        if self.before == "suspended":
            self.api.do("/vms/crash/suspend")

    def request(self):
        return self.api.post("/vms/crash/" + self.verb, self.body)

    def outcome(self, done):
        state = self.c.vm_state("crash")
        self.check(state == (self.after if done else self.before), f"{state} after {self.verb} {'done' if done else 'undone'}")


class VmStart(State):
    verb = "start"


class VmStop(State):
    verb, before, after, body = "stop", "running", "stopped", {"timeout": 1, "force": True}

    def outcome(self, done):
        # A stop that is aborted may have stopped it already: what was asked of a guest can't be taken back.
        state = self.c.vm_state("crash")
        self.check(state == "stopped" or (not done and state == "running"), state)


class VmKill(State):
    verb, before, after = "kill", "running", "stopped"


class VmRestart(VmStop):
    verb = "restart"

    def outcome(self, done):
        state = self.c.vm_state("crash")
        self.check(state == "running" or (not done and state == "stopped"), state)


class VmSuspend(State):
    verb, before, after = "suspend", "running", "suspended"


class VmResume(State):
    verb, before, after = "resume", "suspended", "running"


class VmPolicy(State):
    """A change of a running VM is told to its agent by a job of its own."""

    internal, before = True, "running"

    def request(self):
        self.api.patch("/vms/crash", {"restart_policy": "always"})

    def outcome(self, done):
        self.check(self.api.get("/vms/crash")["restart_policy"] in ("never", "always"), "restart policy")


class RepositoryShared(Scenario):
    """With two servers: the crash test's and one more, which this starts. Both have the same directory."""

    def prepare(self):
        if not any(agent.name == "second" for agent in self.c.agents):
            self.c.add_agent("second")
        self.api.do("/repositories", {"name": "crash", "servers": self.servers, "path": self.c.dir + "/crash.repo"})

    def outcome(self, done):
        names = [self.api.get("/servers/" + s)["name"] for s in self.api.get("/repositories/crash")["servers"]]
        self.check(sorted(names) == sorted(self.after if done else self.servers), names)


class RepositoryPresent(RepositoryShared):
    @property
    def servers(self):
        return [self.c.agent.name]

    @property
    def after(self):
        return [self.c.agent.name, "second"]

    def request(self):
        return self.api.post("/repositories/crash/present", {"server": "second"})


class RepositoryWithdraw(RepositoryPresent):
    @property
    def servers(self):
        return [self.c.agent.name, "second"]

    @property
    def after(self):
        return ["second"]

    def request(self):
        return self.api.post("/repositories/crash/withdraw", {"server": self.c.agent.name})


class ServerMaintenance(RepositoryPresent):
    """Of a server on which nothing runs; moves have crash tests of their own."""

    @property
    def servers(self):
        return [self.c.agent.name, "second"]

    def request(self):
        return self.api.post(f"/servers/{self.c.agent.name}/maintenance", {"on": True})

    def outcome(self, done):
        state = self.api.get("/servers/" + self.c.agent.name)["maintenance"]
        self.check(state == ("on" if done else "off"), state)

    def tidy(self):
        if self.api.get("/servers/" + self.c.agent.name)["maintenance"] != "off":
            self.api.do(f"/servers/{self.c.agent.name}/maintenance", {"on": False})
        super().tidy()


class PoolAdd(Scenario):
    def prepare(self):
        self.api.post("/pools", {"name": "crash"})

    def request(self):
        return self.api.post("/pools/crash/add", {"server": self.c.agent.name})

    def outcome(self, done):
        pool = self.api.get("/pools/crash")["id"]
        self.check(self.api.get("/servers/" + self.c.agent.name)["pool"] == (pool if done else ""), "the server's pool")

    def tidy(self):
        if present(self.api, "/pools/crash"):
            if self.api.get("/servers/" + self.c.agent.name)["pool"]:
                self.api.do("/pools/crash/remove", {"server": self.c.agent.name})
            self.api.delete("/pools/crash")
        super().tidy()


class PoolRemove(PoolAdd):
    def prepare(self):
        super().prepare()
        self.api.wait_job(super().request())

    def request(self):
        return self.api.post("/pools/crash/remove", {"server": self.c.agent.name})

    def outcome(self, done):
        super().outcome(not done)


class ServerFence(Scenario):
    """Asked only: the one server of this test would switch itself off."""

    def prepare(self):
        with open(self.c.dir + "/power", "w") as f:
            f.write("on")
        self.server({"agent": "fence_dummy", "options": [f"status_file={self.c.dir}/power"]})

    def server(self, fence):
        return self.api.patch("/servers/" + self.c.agent.name, {"fence": fence})

    def request(self):
        deadline = time.monotonic() + 10
        while True:
            try:
                return self.api.post(f"/servers/{self.c.agent.name}/fence", {"action": "status"})
            except rest.ApiError as error:
                if error.status != 503 or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)  # connected, and has not reported yet

    def outcome(self, done):
        if done:
            self.check(self.api.get("/servers/" + self.c.agent.name)["power"] == "on", "the power that is shown")

    def tidy(self):
        self.server({"agent": "", "options": []})
        super().tidy()


SCENARIOS = {
    "repository.create": RepositoryCreate,
    "repository.delete": RepositoryDelete,
    "disk.create": DiskCreate,
    "disk.delete": DiskDelete,
    "iso.create": IsoCreate,
    "iso.delete": IsoDelete,
    "vm.cdrom": VmCdrom,
    "upload.create": UploadCreate,
    "upload.delete": UploadDelete,
    "template.create": TemplateCreate,
    "template.delete": TemplateDelete,
    "vm.create": VmCreate,
    "vm.delete": VmDelete,
    "vm.start": VmStart,
    "vm.stop": VmStop,
    "vm.kill": VmKill,
    "vm.restart": VmRestart,
    "vm.suspend": VmSuspend,
    "vm.resume": VmResume,
    "vm.policy": VmPolicy,
    "repository.present": RepositoryPresent,
    "repository.withdraw": RepositoryWithdraw,
    "server.maintenance": ServerMaintenance,
    "pool.add": PoolAdd,
    "pool.remove": PoolRemove,
    "server.fence": ServerFence,
}
# A request that the crash cut off may have been accepted or not.
CUT_OFF = (OSError, rest.http.client.HTTPException, rest.ApiError)
