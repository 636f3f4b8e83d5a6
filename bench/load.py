# SPDX-License-Identifier: Apache-2.0
"""Reads at a fixed rate (load.c), beside the same number of bytes from libwebsockets and memory (fixed.c)."""

import json
import os
import re
import statistics
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VMS = int(os.environ.get("BENCH_VMS", "30000"))
BUILD = os.environ.get("TARN_BUILD", os.path.join(ROOT, "build"))

# What a console and scripts ask for, in these shares. {n} is another number each time.
READS = ["one VM|/vms/vm{n}"] * 5 + ["page of 100|/vms?limit=100&after=vm{n}", "page of 100, filtered|/vms?limit=100&filter=tags~rack7,state=running",
                                     "page of 100, sorted|/vms?limit=100&sort=-memory", "search|/search?q=vm{n}", "summary|/summary",
                                     "jobs|/jobs?limit=20", "VMs of a server|/vms?limit=100&filter=server=SERVER"]


def build():
    subprocess.run(["ninja", "-C", BUILD, "bench/load", "bench/fixed"], check=True, stdout=subprocess.DEVNULL)


def resident(pid):
    """Proportional set size in MiB: shared pages are counted once among those who share them."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Pss: +(\d+)", f.read(), re.M).group(1)) / 1024


def line(name, path):
    return f"{name.replace(' ', '_')} GET {path}"


def reads(api):
    servers = api.get("/servers", limit=1)["items"]
    server = servers[0]["name"] if servers else ""
    return [line(name, "/api/v1" + path.replace("SERVER", server)) for name, path in (read.split("|") for read in READS)
            if server or "SERVER" not in path]


def start(c, requests, rate, connections, seconds, watchers=0, port=None):
    build()
    process = subprocess.Popen([os.path.join(BUILD, "bench/load"), str(port or c.manager.port), c.manager.ca, str(rate), str(connections),
                                str(seconds), str(watchers), str(VMS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env=dict(os.environ, TARN_TOKEN=c.api.token))
    process.stdin.write("\n".join(requests) + "\n")
    process.stdin.close()
    process.stdin = None
    return process


def result(process):
    out = process.communicate()[0]
    if process.returncode:
        raise AssertionError(f"load ended with {process.returncode}")
    figures = {name.replace("_", " "): value for name, value in json.loads(out).items()}
    if figures["all"]["failed"] or figures["unanswered"]:
        raise AssertionError(f"requests failed: {out}")
    return figures


def run(c, requests, rate, connections, seconds, port=None):
    return result(start(c, requests, rate, connections, seconds, 0, port))


class Fixed:
    """fixed.c, while it runs."""

    def __init__(self, c):
        build()
        self.state = c.manager.state

    def __enter__(self):
        self.process = subprocess.Popen([os.path.join(BUILD, "bench/fixed"), self.state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    @staticmethod
    def like(api, requests):
        """The same requests for as many bytes as the manager answers."""
        out = []
        for request in requests:
            name, _, path = request.split(" ", 2)
            out.append(f"{name} GET /{len(api.raw('GET', '/' + path.replace('{n}', '00042')).data)}")
        return out


def tell(report, what, ours, peers, aim=None):
    """p50 and p99 of all reads together, with the peer's, then p99 of each."""
    for figure in ("p50", "p99"):
        mine, its = [one["all"][figure] for one in ours], [one["all"][figure] for one in peers]
        value, other = statistics.median(mine), statistics.median(its)
        limit = aim if figure == "p99" else None
        report.add(f"{what}: {figure}", mine, "ms", f"under {limit} ms" if limit else None, value < limit if limit else None,
                   peer="bare libwebsockets", peer_value=round(other, 4), ratio=round(statistics.median(a / b for a, b in zip(mine, its)), 3))
    for name in ours[0]:
        if isinstance(ours[0][name], dict) and name not in ("all", "late"):
            report.add(f"{what}, {name}: p99", [one[name]["p99"] for one in ours], "ms")
