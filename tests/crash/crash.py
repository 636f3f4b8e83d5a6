# SPDX-License-Identifier: Apache-2.0
"""Runs one scenario with a crash at one point after another, and checks everything after each."""

import json
import os
import sqlite3
import subprocess
import time

import cluster
import rest
import scenarios

FULL = os.environ.get("CRASH") == "full"
# Without CRASH=full a run stops at most this many times for each kind, spread over the job.
SELECTION = int(os.environ.get("CRASH_POINTS", "3"))
LIMIT = 60
# Agents take fence_dummy, which switches nothing, in tests only.
os.environ["TARN_TEST"] = "1"


class Bench:
    """A cluster on which every kind is tried in turn."""

    def __init__(self):
        self.c = cluster.Cluster(1, prefix="tarn-c-")
        self.points = 0
        self.kinds = set()

    def start(self):
        c = self.c
        c.start()
        c.repository()
        image = os.path.join(c.dir, "base.qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "4M"], check=True)
        folder = cluster.images()
        # Such a guest is there and does nothing: no scenario waits for a boot.
        c.api.do("/templates", {"name": "base", "image": {"path": image}, "kernel_image": {"path": folder + "/vmlinuz"},
                                "initrd_image": {"path": folder + "/initrd.img"}, "machine": "microvm", "memory": 80 << 20,
                                "cmdline": "console=ttyS0 quiet rdinit=/bin/sh"}, timeout=120)

    # ---- restarting ----

    def restart_manager(self, env=None):
        c = self.c
        if c.manager.running():
            c.manager.stop()
        c.api.close()
        c.manager.start(dict(env, TARN_TEST="1") if env else None, wait=not env)
        if env:
            try:
                c.manager.wait_ready()
            except AssertionError:
                return False
        return True

    def restart_agent(self, env=None):
        agent = self.c.agent
        if agent.running():
            agent.stop()
        agent.start(dict(env, TARN_TEST="1") if env else None)

    def settle(self, timeout=60):
        """Both run, the agent is connected, every job has ended."""
        c = self.c
        if not c.manager.running():
            c.api.close()
            c.manager.start()
        for agent in c.agents:
            if not agent.running():
                agent.start()
        for agent in c.agents:
            c.wait_online(agent.name, timeout)
        cluster.wait_until(lambda: c.connected() == len(c.agents), timeout, "every agent's connection")

        def ended():
            jobs = [job for job in c.api.get("/jobs", limit=50)["items"] if job["state"] not in rest.ENDED]
            return not jobs
        try:
            cluster.wait_until(ended, timeout, "the end of every job")
        except TimeoutError:
            jobs = [job for job in c.api.get("/jobs", limit=50)["items"] if job["state"] not in rest.ENDED]
            raise AssertionError(f"jobs that don't end: {cluster.pretty(jobs)}\n{c.manager.tail()}\n{c.agent.tail()}") from None

    # ---- what must hold whenever no job runs ----

    def check(self):
        c, api = self.c, self.c.api
        vms = {vm["id"]: vm for vm in api.list("/vms")}
        alive = {key for key, vm in vms.items() if vm["state"] in ("running", "suspended")}
        strange = [vm for vm in vms.values() if vm["state"] not in ("running", "suspended", "stopped", "crashed")]
        assert not strange, f"VMs between states with no job: {cluster.pretty(strange)}"
        deadline = time.monotonic() + 3
        while set(c.agent.guests()) != alive and time.monotonic() < deadline:
            time.sleep(0.05)
        assert set(c.agent.guests()) == alive, f"QEMUs of {set(c.agent.guests())}, inventory says {alive}"
        disks = {disk["id"]: disk for disk in api.list("/disks")}
        templates = {template["id"]: template for template in api.list("/templates")}
        uploads = {upload["id"]: upload for upload in api.list("/uploads")}
        isos = {iso["id"]: iso for iso in api.list("/isos")}
        for item in [*disks.values(), *templates.values(), *isos.values(), *api.list("/repositories")]:
            assert item["state"] == "ready", cluster.pretty(item)
        for vm in vms.values():
            for disk in vm["disks"]:
                if disk["cdrom"]:
                    assert not disk["iso"] or disk["iso"] in isos, cluster.pretty(vm)
                    continue
                assert disks[disk["disk"]]["vm"] == vm["id"], cluster.pretty(vm)
        for disk in disks.values():
            assert not disk.get("vm") or disk["vm"] in vms, cluster.pretty(disk)

        def files(folder):
            path = os.path.join(c.agent.repository, folder)
            return set(os.listdir(path)) if os.path.isdir(path) else set()
        assert files("disks") == {key + ".qcow2" for key in disks}, (files("disks"), set(disks))
        assert files("templates") == set(templates), (files("templates"), set(templates))
        assert files("isos") == {key + ".iso" for key in isos}, (files("isos"), set(isos))
        assert files("uploads") <= set(uploads), (files("uploads"), set(uploads))
        assert files("guests") <= set(vms), (files("guests"), set(vms))
        self.check_agent(vms)

    def agent_keys(self):
        """Every key in the agent's own store."""
        name = next(n for n in os.listdir(self.c.agent.state) if n.endswith((".db", ".sqlite")))
        db = sqlite3.connect(f"file:{self.c.agent.state}/{name}?mode=ro", uri=True, timeout=5)
        try:
            return [row[0] for row in db.execute("SELECT key FROM head JOIN log USING (key, rev) WHERE NOT deleted")]
        finally:
            db.close()

    def check_agent(self, vms):
        def wrong():
            keys = self.agent_keys()
            guests = {key.split("/", 1)[1] for key in keys if key.startswith("guest/")}
            ops = [key for key in keys if key.startswith("op/")]
            return sorted(guests - set(vms)) + ops
        deadline = time.monotonic() + 5
        while wrong() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not wrong(), f"the agent remembers {wrong()}"

    # ---- one kind ----

    def last_job(self, kind, before):
        for job in self.c.api.get("/jobs", limit=20)["items"]:
            if job["kind"] == kind and job["id"] not in before:
                return job
        return None

    def attempt(self, kind, arm, crashed, abort=False):
        """Prepares, arms, requests; whether the crash came during the job (None: before it)."""
        scenario = scenarios.SCENARIOS[kind](self.c)
        scenario.prepare()
        self.settle()
        before = {job["id"] for job in self.c.api.get("/jobs", limit=50)["items"]}
        if not arm():
            self.settle()
            scenario.tidy()
            return None
        try:
            scenario.request()
            deadline = time.monotonic() + 30
            while not crashed() and time.monotonic() < deadline:
                job = self.last_job(kind, before)
                if (job and job["state"] in rest.ENDED) or (scenario.internal and not job and self.quiet()):
                    break
                time.sleep(0.005)
        except scenarios.CUT_OFF:
            deadline = time.monotonic() + 5
            while not crashed() and time.monotonic() < deadline:
                time.sleep(0.01)
        hit = crashed()
        if abort and hit:
            job = self.last_job(kind, before)
            if job and job["state"] not in rest.ENDED:
                self.c.api.raw("POST", f"/jobs/{job['id']}/abort")
        if self.c.agent.running() and self.c.manager.running() and not hit:
            self.disarm()
        self.settle()
        self.finish(kind, scenario, before)
        return hit

    def quiet(self):
        time.sleep(0.3)
        return True

    def disarm(self):
        """What did not fire must not fire in the next attempt's preparation."""
        if self.armed == "manager":
            self.restart_manager()
        else:
            self.restart_agent()

    def finish(self, kind, scenario, before):
        job = self.last_job(kind, before)
        try:
            if job:
                scenario.outcome(job["state"] == "done")
            self.check()
        except AssertionError as error:
            raise AssertionError(f"{error}\njob: {cluster.pretty(job)}\n{self.c.manager.tail()}\n{self.c.agent.tail()}") from None
        scenario.tidy()
        self.check()

    def manager_points(self, kind):
        """SIGKILL after each commit of the job."""
        self.armed = "manager"
        return self.walk(kind, self.arm_manager, lambda: not self.c.manager.running())

    def arm_manager(self, n):
        if not self.restart_manager({"TARN_CRASH_AFTER_COMMITS": str(n)}):
            return False
        try:
            cluster.wait_until(lambda: not self.c.manager.running() or self.online(), 30, "online")
        except (OSError, rest.http.client.HTTPException):
            return False
        return self.c.manager.running()

    def online(self):
        try:
            return self.c.online(self.c.agent.name) and self.c.connected() == len(self.c.agents)
        except (OSError, rest.http.client.HTTPException):
            return False

    def agent_points(self, kind, what, abort=False):
        """SIGKILL after each of the agent's commits or effects; then go on, or abort the job first."""
        self.armed = "agent"

        def arm(n):
            self.restart_agent({f"TARN_CRASH_AFTER_{what}": str(n)})
            cluster.wait_until(lambda: not self.c.agent.running() or self.online(), 30, "online")
            return self.c.agent.running()
        return self.walk(kind, arm, lambda: not self.c.agent.running(), abort)

    def walk(self, kind, arm, crashed, abort=False):
        """The points that the job reached."""
        reached = []
        n, misses = 1, 0
        while n < LIMIT:
            hit = self.attempt(kind, lambda n=n: arm(n), crashed, abort)
            self.settle()
            if hit:
                reached.append(n)
                self.points += 1
            elif hit is not None:
                misses += 1
                # Commits are grouped as they come, so one attempt may need fewer than another: two in a row decide.
                if not FULL or misses == 2:
                    break
            if not FULL and len(reached) >= SELECTION:
                break
            n += 1 if FULL or not reached else 2
        self.kinds.add(kind)
        print(f"  {kind}: crashed at {reached}", flush=True)
        return reached

    def close(self):
        self.c.close()


def summary(bench, what):
    print(f"crash test, {what}: {bench.points} points in {len(bench.kinds)} kinds of jobs", flush=True)
    return json.dumps({"what": what, "points": bench.points, "kinds": len(bench.kinds)})
