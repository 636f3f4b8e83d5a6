# SPDX-License-Identifier: Apache-2.0
"""A manager at its full inventory and at work: 1,000 simulated servers that report, 30,000 virtual machines that run, each with a disk;
the histories of jobs and events at their caps.

The virtual machines are generated: one for each pool is created through the API and its record copied in the store while the manager is away.
Then all are started, by jobs.
"""

import concurrent.futures
import contextlib
import json
import os
import sqlite3
import threading
import time
import uuid

import cluster
import load
import simulated

SERVERS = int(os.environ.get("BENCH_SERVERS", "1000"))
VMS = int(os.environ.get("BENCH_VMS", "30000"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "10"))
IN_POOL = 40
RATE, CONNECTIONS, WATCHERS, CHANGES = 2000, 32, 50, 20


def rows(db, kind):
    found = db.execute("SELECT value FROM head JOIN log USING (rev) WHERE head.key LIKE ?", (kind + "/%",))
    return [json.loads(value) for (value,) in found]


def multiply(path):
    """Copies the virtual machines and their disks until there are VMS of them."""
    db = sqlite3.connect(path, isolation_level=None)
    originals, disks = sorted(rows(db, "vm"), key=lambda vm: vm["name"]), {disk["id"]: disk for disk in rows(db, "disk")}
    revision = db.execute("SELECT max(rev) FROM log").fetchone()[0]

    def put(kind, record):
        nonlocal revision
        revision += 1
        record["revision"] = revision
        db.execute("INSERT INTO log(rev, key, value, deleted) VALUES (?, ?, ?, 0)", (revision, f"{kind}/{record['id']}", json.dumps(record)))
        db.execute("INSERT INTO head(key, rev) VALUES (?, ?)", (f"{kind}/{record['id']}", revision))

    db.execute("BEGIN")
    for number in range(len(originals), VMS):
        vm = json.loads(json.dumps(originals[number % len(originals)]))
        vm.update(id=str(uuid.uuid4()), name=f"vm{number:05}", description=f"number {number}", tags=[f"rack{number % 40}"])
        for index, nic in enumerate(vm["nics"]):
            nic["mac"] = f"52:54:{index:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        for attached in vm["disks"]:
            disk = dict(disks[attached["disk"]], id=str(uuid.uuid4()), name=f"vm{number:05}-disk", vm=vm["id"])
            attached["disk"] = disk["id"]
            put("disk", disk)
        put("vm", vm)
    db.execute("COMMIT")
    db.close()


class Fleet:
    def __init__(self):
        self.c = cluster.Cluster(0, prefix="tarn-b-")
        self.agents = simulated.SimulatedServers(self.c, SERVERS, latency=5)
        self.c.agents = [self.agents]

    def each(self, items, what, threads=8):
        """what(api, item) for all items, over a few connections."""
        def part(mine):
            api = self.c.api.copy()
            for item in mine:
                what(api, item)
            api.close()
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, [items[i::threads] for i in range(threads)]))

    def start(self):
        c = self.c
        c.start()
        self.agents.start()
        names, pools = self.agents.names(), max(1, SERVERS // IN_POOL)
        for pool in range(pools):
            c.api.post("/pools", {"name": f"pool{pool:02}", "memory_reserve": 0})
        self.each(list(enumerate(names)), lambda api, x: api.do(f"/pools/pool{x[0] % pools:02}/add", {"server": x[1]}, 300))
        for pool in range(pools):
            c.api.do("/repositories", {"name": f"shared{pool:02}", "pool": f"pool{pool:02}", "path": f"/sim/shared{pool}"}, 300)
            c.api.do("/vms", {"name": f"vm{pool:05}", "pool": f"pool{pool:02}", "memory": 2 << 30, "display": "none",
                              "repository": f"shared{pool:02}", "disks": [{"size": 10 << 30}]}, 300)
        c.manager.stop()
        c.api.close()
        multiply(os.path.join(c.manager.state, "tarn.db"))
        began = time.perf_counter()
        c.manager.start()
        self.load_seconds = time.perf_counter() - began
        cluster.wait_until(lambda: c.connected() == SERVERS, 60 + SERVERS, "all agents again", 0.2)
        self.connect_seconds = time.perf_counter() - began - self.load_seconds
        began = time.perf_counter()
        self.each(range(VMS), lambda api, number: api.post(f"/vms/vm{number:05}/start"))
        cluster.wait_until(lambda: not c.api.get("/jobs", filter="state=running", limit=1)["items"], 600, "the end of all starts", 0.5)
        self.start_seconds = time.perf_counter() - began
        return self

    @contextlib.contextmanager
    def at_work(self, seconds):
        """Watchers on the stream, changes, and a job after the other."""
        end = threading.Event()

        def jobs():
            api = self.c.api.copy()
            while not end.is_set():
                api.do("/vms/vm00017/suspend")
                api.do("/vms/vm00017/resume")
            api.close()
        thread = threading.Thread(target=jobs)
        changes = load.start(self.c, ['change PATCH /api/v1/vms/vm{n} {"description":"changed {n}"}'], CHANGES, 4, seconds, WATCHERS)
        thread.start()
        try:
            yield changes
        finally:
            end.set()
            thread.join()

    def close(self):
        self.c.close()


def run(report, runs):
    fleet = Fleet()
    what = f"{VMS:,} VMs on {SERVERS:,} servers"
    try:
        fleet.start()
        pid = fleet.c.manager.pid
        report.add(f"{what}: the manager's start", fleet.load_seconds, "s")
        report.add(f"{what}: until all agents are back", fleet.connect_seconds, "s")
        report.add(f"{what}: until all run", fleet.start_seconds, "s")
        used = [load.resident(pid)]
        time.sleep(30)  # what the starts have left behind has been given back
        used.append(load.resident(pid))
        reads = load.reads(fleet.c.api)
        ours, peers = [], []
        with load.Fixed(fleet.c) as fixed:
            for _ in range(3):
                with fleet.at_work(SECONDS + 2) as changes:
                    ours.append(load.run(fleet.c, reads, RATE, CONNECTIONS, SECONDS))
                done = load.result(changes)
                with fleet.at_work(SECONDS + 2) as changes:
                    peers.append(load.run(fleet.c, fixed.like(fleet.c.api, reads), RATE, CONNECTIONS, SECONDS, fixed.port))
                load.result(changes)
        load.tell(report, f"REST at work, {RATE:,}/s", ours, peers, aim=2)
        report.add(f"REST at work, {RATE:,}/s: the client's own delay, p99", [one["late"]["p99"] for one in ours], "ms")
        report.add("durable changes at work, 20/s: p99", done["change"]["p99"], "ms")
        used.append(load.resident(pid))
        for name, value in zip(("straight after all starts", "30 s later", "straight after the load test"), used):
            report.add(f"{what}: memory of the manager, {name}", value, "MiB", "under 300", value < 300)
    finally:
        fleet.close()
