# SPDX-License-Identifier: Apache-2.0
"""A manager with 30,000 virtual machines: reading, durable changes, memory.

The inventory is generated: one VM is created through the API, and its record copied in the store while the manager is away.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
import uuid

import cluster
import load

VMS = int(os.environ.get("BENCH_VMS", "30000"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "10"))
RATE = 2000
shared = None


def multiply(path, name):
    """Copies the VM's record until there are VMS of them."""
    db = sqlite3.connect(path, isolation_level=None)
    rows = db.execute("SELECT head.key, value FROM head JOIN log USING (rev) WHERE head.key LIKE 'vm/%'").fetchall()
    original = next(json.loads(value) for _, value in rows if json.loads(value)["name"] == name)
    revision = db.execute("SELECT max(rev) FROM log").fetchone()[0]
    db.execute("BEGIN")
    for number in range(1, VMS):
        vm = json.loads(json.dumps(original))
        key = str(uuid.uuid4())
        vm.update(id=key, name=f"vm{number:05}", description=f"number {number}", tags=[f"rack{number % 40}"])
        for index, nic in enumerate(vm.get("nics", [])):
            nic["mac"] = f"52:54:{index:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        revision += 1
        if "revision" in vm:
            vm["revision"] = revision
        db.execute("INSERT INTO log(rev, key, value, deleted) VALUES (?, ?, ?, 0)", (revision, "vm/" + key, json.dumps(vm)))
        db.execute("INSERT INTO head(key, rev) VALUES (?, ?)", ("vm/" + key, revision))
    db.execute("COMMIT")
    db.close()


def big(prepare=None):
    """The manager that all parts here use; prepare is given it before its start."""
    global shared
    if shared is None:
        c = cluster.Cluster(1, prefix="tarn-b-")
        shared = c
        if prepare:
            prepare(c.manager)
        c.start()
        c.repository()
        c.api.do("/vms", {"name": "vm00000", "display": "none"})
        vm = c.api.get("/vms/vm00000")
        c.agent.stop()
        c.manager.stop()
        c.api.close()
        multiply(os.path.join(c.manager.state, "tarn.db"), vm["name"])
        began = time.perf_counter()
        c.manager.start()
        c.load_seconds = time.perf_counter() - began
    return shared


def close():
    if shared is not None:
        shared.close()


def wrk(c, path, connections, script=None, seconds=SECONDS):
    """{rps, p50, p99 in ms} of wrk with the session's token."""
    lua = os.path.join(c.dir, "wrk.lua")
    with open(lua, "w") as f:
        f.write(f'wrk.headers["Authorization"] = "Bearer {c.api.token}"\n' + (script or ""))
        f.write('\nfunction done(s, l, r)\n  io.write(string.format("RESULT %d %f %f %f %d\\n", s.requests, s.duration / 1e6, '
                'l:percentile(50) / 1000, l:percentile(99) / 1000, s.errors.status + s.errors.connect + s.errors.read))\nend\n')
    os.chmod(lua, 0o600)
    out = subprocess.run(["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-s", lua,
                          f"{c.manager.url}/api/v1{path}"], capture_output=True, text=True, check=True).stdout
    requests, duration, p50, p99, errors = map(float, re.search(r"RESULT (.*)", out).group(1).split())
    if errors:
        raise AssertionError(f"{path}: {errors:.0f} of {requests:.0f} requests failed: {out}")
    return {"rps": requests / duration, "p50": p50, "p99": p99}


def have_wrk(report, name):
    if shutil.which("wrk"):
        return True
    report.note(name, "wrk is not installed: ./setup bench")
    return False


def run_rest(report, runs):
    if not have_wrk(report, "REST"):
        return
    c = big()
    report.add(f"manager's start with {VMS:,} VMs", c.load_seconds, "s")
    key = c.api.get("/vms/vm00000")["id"]
    for name, path in (("one VM", f"/vms/{key}"), ("page of 100", "/vms?limit=100"),
                       ("search for a name", "/search?q=vm12345"), ("search, all match", "/search?q=vm"),
                       ("summary", "/summary"), ("page of 100, filtered", "/vms?limit=100&filter=tags~rack7,state=stopped&sort=-name")):
        one, many = wrk(c, path, 1), wrk(c, path, 32)
        report.add(f"REST, one client at a time, {name}: p50", one["p50"], "ms")
        report.add(f"REST, one client at a time, {name}: p99", one["p99"], "ms")
        # Each client asks again as soon as it is answered, so this is a queue of 32, and p99 is how long that is.
        report.add(f"REST at saturation, 32 clients, {name}", many["rps"], "1/s")
        report.add(f"REST at saturation, 32 clients, {name}: p99", many["p99"], "ms")
    ours, peers, reads = [], [], load.reads(c.api)
    with load.Fixed(c) as fixed:
        for _ in range(3):
            ours.append(load.run(c, reads, RATE, 32, SECONDS))
            peers.append(load.run(c, fixed.like(c.api, reads), RATE, 32, SECONDS, fixed.port))
    load.tell(report, f"REST at {RATE:,}/s over 32 connections", ours, peers, aim=2)


def run_changes(report, runs):
    if not have_wrk(report, "durable changes"):
        return
    c = big()
    script = f"""
local n = 0
request = function()
  n = (n + 7919) % {VMS}
  return wrk.format("PATCH", string.format("/api/v1/vms/vm%05d", n), {{["Content-Type"] = "application/json",
    ["Authorization"] = wrk.headers["Authorization"]}}, string.format('{{"description": "changed %d"}}', n))
end
"""
    for connections in (1, 32, 128):
        got = wrk(c, "/vms", connections, script)
        report.add(f"durable changes, {connections} client{'s' if connections > 1 else ''}", got["rps"], "1/s")
        report.add(f"durable changes, {connections} client{'s' if connections > 1 else ''}: p99", got["p99"], "ms")


def run_memory(report, runs):
    c = big()
    c.api.get("/vms", limit=1000)
    used = load.resident(c.manager.pid)
    report.add(f"memory of the manager, {VMS:,} VMs", used, "MiB", "under 300", used < 300)
    small = cluster.Cluster(1, prefix="tarn-b-")
    try:
        small.start()
        small.repository()
        small.tiny_template(memory=80 << 20, cmdline="console=ttyS0 quiet rdinit=/bin/sh")
        time.sleep(5)
        used = load.resident(small.agent.pid)
        report.add("memory of the agent, no guest", used, "MiB", "under 10", used < 10)
        report.add("memory of the manager, empty", load.resident(small.manager.pid), "MiB")
        for number in range(10):
            small.vm(f"vm{number}")
        time.sleep(5)
        used = load.resident(small.agent.pid)
        report.add("memory of the agent, 10 guests", used, "MiB", "under 10", used < 10)
    finally:
        small.close()
