# SPDX-License-Identifier: Apache-2.0
"""Many starts in a large pool of simulated servers: the manager's CPU time, and that nothing is over-committed."""

import concurrent.futures
import os
import time

import cluster
import rest
import simulated

SERVERS = int(os.environ.get("BENCH_SERVERS", "100"))
STARTS = int(os.environ.get("BENCH_STARTS", "1000"))
MEMORY, SIM_MEMORY = 32 << 30, 512 << 30


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def prepare(c):
    agents = simulated.SimulatedServers(c, SERVERS, latency=5)
    c.agents = [agents]
    agents.start()
    c.api.post("/pools", {"name": "big", "memory_reserve": 0})
    for name in agents.names():
        c.api.do("/pools/big/add", {"server": name})
    c.api.do("/repositories", {"name": "shared", "pool": "big", "path": "/sim/shared"}, timeout=300)
    for number in range(STARTS):
        c.api.do("/vms", {"name": f"vm{number:04}", "pool": "big", "memory": MEMORY, "display": "none"})


def ask(c, names):
    """Starts these over one connection, one request after the other, without waiting for the jobs."""
    api = c.api.copy(c.api.token)
    jobs = [api.post(f"/vms/{name}/start")["id"] for name in names]
    api.close()
    return jobs


def measure(c):
    names = [f"vm{number:04}" for number in range(STARTS)]
    parts = [names[i::4] for i in range(4)]
    before, began = cpu_seconds(c.manager.pid), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: ask(c, part), parts))
    cluster.wait_until(lambda: not c.api.get("/jobs", filter="state=running", limit=1)["items"], 300, "the end of all starts", 0.2)
    wall, used = time.monotonic() - began, cpu_seconds(c.manager.pid) - before
    on = {}
    for vm in c.api.list("/vms"):
        assert vm["state"] == "running", vm
        on[vm["server"]] = on.get(vm["server"], 0) + vm["memory"]
    assert max(on.values()) <= SIM_MEMORY, on
    return used, wall, on


def run(report, runs):
    c = cluster.Cluster(0, prefix="tarn-b-")
    c.start()
    try:
        prepare(c)
        used, wall, on = measure(c)
        report.add(f"{STARTS} starts on {SERVERS} servers: the manager's CPU", used, "s", "< 2 s", used < 2)
        report.add(f"{STARTS} starts on {SERVERS} servers: until all run", wall, "s")
        report.add("fullest server, of its memory", max(on.values()) / SIM_MEMORY * 100, "%", "<= 100 %", True)
    except rest.ApiError as error:
        report.note("placement", str(error))
    finally:
        c.close()
