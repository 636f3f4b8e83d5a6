# SPDX-License-Identifier: Apache-2.0
"""Live migrations between two agents, of a guest that is idle or writes its memory and disk, with shared and with local disks, plain and
with TLS; beside them the same guest moved by two bare QEMUs over QMP with the same settings, in turns: while one moves, the other stands still.

Total: from the request to the end of the job, both with the start of the other QEMU and the end of the one that is left; ours makes one-time
credentials in it, and notes each step durably. Moving: from QEMU's migrate to its
end, for both. Standing still: from the guest's pause to where it runs again, which is what a guest without hardware acceleration needs for
all of its memory. Every guest that writes checks itself afterwards (tests/guest/check.c)."""

import calendar
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

import checker
import cluster
import rest

MEMORY, DISK, CHECKED = 128, 64, 32  # MiB
PAUSE = 0.7  # between two moves: pages are written again
SENT = re.compile(r"([\d.]+) (KiB|MiB|GiB) in ([\d.]+) s; it stood still for (\d+) ms")
UNITS = {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}


# ---- ours ----

class Ours:
    def __init__(self):
        self.c = c = cluster.Cluster(2, prefix="tarn-b-")
        c.start()
        for number, agent in enumerate(c.agents):
            c.repository("local" + str(number + 1), agent)
        c.api.do("/repositories", {"name": "shared", "server": c.agents[0].name, "path": os.path.join(c.dir, "shared")})
        c.api.do("/repositories/shared/present", {"server": c.agents[1].name})
        c.api.post("/pools", {"name": "east", "memory_reserve": 0})
        for number, agent in enumerate(c.agents):
            c.api.do("/pools/east/add", {"server": agent.name})
            c.api.patch("/servers/" + agent.name, {"addresses": [{"address": f"127.0.0.{number + 2}", "roles": ["migration"]}]})
        self.kernel, self.initrd = checker.images(c.dir)
        c.api.do("/templates", {"name": "tiny", "repository": "shared", "kernel_image": {"path": self.kernel},
                                "initrd_image": {"path": self.initrd}, "machine": "q35", "memory": MEMORY << 20,
                                "cmdline": "console=ttyS0 quiet"}, timeout=120)

    def boot(self, local, writing):
        api, self.at, self.local = self.c.api, 0, local
        api.do("/disks", {"name": "d", "repository": "local1" if local else "shared", "size": DISK << 20})
        api.do("/vms", {"name": "g", "template": "tiny", "pool": "east", "server": self.c.agents[0].name, "display": "none",
                        "start": True, "restart_policy": "never", "disks": [{"disk": "d"}]}, timeout=120)
        if writing:
            self.guest = checker.Checked(self.c, "g", CHECKED, DISK // 2)
        else:
            with rest.Console(api, "g") as console:
                console.send("\n")
                console.prompt(120)

    def pids(self):
        return [pid for agent in self.c.agents for pid in agent.guests().values()]

    def move(self, tls):
        api = self.c.api
        self.at = 1 - self.at
        api.patch("/pools/east", {"migration": {"tls": tls}})
        began = time.time()
        job = api.do("/vms/g/migrate", {"to": self.c.agents[self.at].name, "disks": self.local}, timeout=300)
        total = seconds(job["ended"]) - began  # when we saw that does not count
        sent = next(SENT.search(c["detail"]) for c in job["changes"] if SENT.search(c.get("detail") or ""))
        stamps = {s["name"]: s for s in job["steps"]}
        # It runs again when the destination has answered.
        after = seconds(stamps["switch"]["ended"]) - seconds(stamps["send"]["ended"])
        return {"total": total, "moving": float(sent[3]), "still": int(sent[4]) / 1000 + after,
                "mib": float(sent[1]) * UNITS[sent[2]]}

    def end(self, writing):
        if writing:
            self.guest.check()
        self.c.api.do("/vms/g/kill")
        self.c.api.remove("/vms/g")
        self.c.api.remove("/disks/d")


def seconds(stamp):
    whole, part = stamp.rstrip("Z").split(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + part)


# ---- bare QEMU ----

class Qmp:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        self.file = self.socket.makefile("rwb")
        self.file.readline()
        self("qmp_capabilities")

    def __call__(self, command, **args):
        self.file.write(json.dumps({"execute": command, "arguments": args}).encode() + b"\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]


class Bare:
    """A QEMU with the guest's own arguments, those of our agent."""

    def __init__(self, directory, kernel, initrd, disk, incoming, accelerator, cpu):
        self.dir, self.path = directory, os.path.join(directory, f"qmp{time.monotonic_ns()}")
        self.console = self.path + ".serial"
        accel = "tcg,thread=multi,tb-size=64" if accelerator == "tcg" else "kvm"
        args = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,usb=off,vmport=off",
                "-accel", accel, "-cpu", cpu, "-m", f"{MEMORY}M", "-kernel", kernel, "-initrd", initrd,
                "-append", "no_timer_check console=ttyS0 quiet", "-qmp", f"unix:{self.path},server=on,wait=off",
                "-serial", f"unix:{self.console},server=on,wait=off", "-device", "virtio-rng-pci", "-netdev", "user,id=n0",
                "-device", "virtio-net-pci,netdev=n0,romfile=", "-blockdev",
                f'{{"driver":"qcow2","node-name":"disk0","file":{{"driver":"file","filename":"{disk}"}}}}',
                "-device", "virtio-blk-pci,drive=disk0"]
        if incoming:
            args += ["-incoming", "defer", "-S"]
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL)
        self.qmp = Qmp(self.path)

    def serial(self):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.console)
        return s

    def wait(self, s, text, timeout=120):
        data, deadline = b"", time.monotonic() + timeout
        while text not in data:
            s.settimeout(max(0.1, deadline - time.monotonic()))
            data += s.recv(65536)
        return data

    def end(self):
        self.process.kill()
        self.process.wait()


def settings(qmp, source, tls):
    capabilities = {"multifd": True, "events": True, "pause-before-switchover": source, "return-path": source,
                    "late-block-activate": not source}
    qmp("migrate-set-capabilities", capabilities=[{"capability": k, "state": v} for k, v in capabilities.items()])
    qmp("migrate-set-parameters", **{"multifd-channels": 2, "tls-creds": "t" if tls else "", "tls-hostname": "x" if tls and source else "",
                                    **({"max-bandwidth": 1 << 40} if source else {})})


def credentials(directory):
    """One pair of certificates, of one authority: the making of them is not measured. QEMU need not look for a prime, as with ours."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca-cert.pem",
            "-subj", "/CN=ca", "-days", "2")
    openssl("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", "dh-params.pem")
    for who in ("server", "client"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{who}-key.pem", "-out", "csr",
                "-subj", "/CN=x", "-addext", "subjectAltName=DNS:x")
        with open(os.path.join(directory, "ext"), "w") as f:
            f.write("subjectAltName=DNS:x\n")
        openssl("x509", "-req", "-in", "csr", "-CA", "ca-cert.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{who}-cert.pem",
                "-days", "2", "-extfile", "ext")


def bare_move(source, there, local, tls, tcg, directory):
    """The same things in the same order, without an agent."""
    port = cluster.free_port()
    for qmp, end in ((there.qmp, "server"), (source.qmp, "client")):
        if tls:
            with contextlib.suppress(RuntimeError):
                qmp("object-del", id="t")
            qmp("object-add", **{"qom-type": "tls-creds-x509", "id": "t", "endpoint": end, "dir": directory, "verify-peer": True})
        settings(qmp, end == "client", tls)
    more = {"tls-creds": "t"} if tls else {}
    if local:
        nbd = cluster.free_port()
        there.qmp("nbd-server-start", addr={"type": "inet", "data": {"host": "127.0.0.3", "port": str(nbd)}}, **more)
        there.qmp("block-export-add", type="nbd", id="e", **{"node-name": "disk0", "name": "d", "writable": True})
    there.qmp("migrate-incoming", uri=f"tcp:127.0.0.3:{port}")
    if local:
        source.qmp("blockdev-add", driver="nbd", **{"node-name": "m", "server": {"type": "inet", "host": "127.0.0.3", "port": str(nbd)},
                   "export": "d", "discard": "unmap", **more, **({"tls-hostname": "x"} if tls else {})})
        source.qmp("blockdev-mirror", **{"job-id": "m", "device": "disk0", "target": "m", "sync": "full", "auto-dismiss": False})
        while source.qmp("query-jobs")[0]["status"] != "ready":
            time.sleep(0.02)
    paused = time.perf_counter()
    if tcg:
        source.qmp("stop")
    source.qmp("migrate", uri=f"tcp:127.0.0.3:{port}")
    while True:
        now = source.qmp("query-migrate")
        if now["status"] == "pre-switchover":
            if local:
                source.qmp("block-job-cancel", device="m")
                while source.qmp("query-jobs")[0]["status"] != "concluded":
                    time.sleep(0.002)
            source.qmp("migrate-continue", state="pre-switchover")
        elif now["status"] == "completed" and now.get("ram", {}).get("total"):
            break
        elif now["status"] == "failed":
            raise RuntimeError(now)
        time.sleep(0.005)
    if local:
        there.qmp("nbd-server-stop")
    while there.qmp("query-status")["status"] == "inmigrate":
        time.sleep(0.002)
    there.qmp("cont")
    still = time.perf_counter() - paused if tcg else now["downtime"] / 1000
    return {"moving": now["total-time"] / 1000, "still": still,
            "mib": now["ram"]["transferred"] / (1 << 20)}


class Peer:
    """The same guest, with nothing but QEMU and the monitor."""

    def __init__(self, ours, directory, local, accelerator, writing):
        self.ours, self.directory, self.local, self.accelerator = ours, directory, local, accelerator
        self.disks = [os.path.join(directory, f"disk{n}.qcow2") for n in range(2)]
        for disk in self.disks:
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, f"{DISK}M"], check=True)
        self.at = 0
        self.here = self.qemu(False)
        with self.here.serial() as s:
            s.send(b"\n")
            self.here.wait(s, b"# ")
            if writing:
                s.send(f"tarn-check {CHECKED} /dev/vda {DISK // 2} >/dev/console 2>&1 </dev/null &\n".encode())
                self.here.wait(s, b"CHECK pages")

    def qemu(self, incoming):
        cpu = "max,la57=off" if self.accelerator == "tcg" else "host,migratable=on"
        disk = self.disks[self.at if self.local else 0]
        return Bare(self.directory, self.ours.kernel, self.ours.initrd, disk, incoming, self.accelerator, cpu)

    def pids(self):
        return [self.here.process.pid]

    def move(self, tls):
        began = time.perf_counter()
        self.at = 1 - self.at
        there = self.qemu(True)
        try:
            result = bare_move(self.here, there, self.local, tls, self.accelerator == "tcg", self.directory)
        except BaseException:
            there.end()
            raise
        self.here.end()
        self.here = there
        return {"total": time.perf_counter() - began, **result}

    def end(self):
        self.here.end()


@contextlib.contextmanager
def stopped(pids):
    """The other's guest takes no CPU time meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


# ---- the table ----

WHAT = {"total": "total ms", "still": "standing still ms", "rate": "MiB/s"}


def pairs(ours, peer, tls, runs):
    mine, theirs = [], []
    for _ in range(runs):
        for results, mover, other in ((mine, ours, peer), (theirs, peer, ours)):
            time.sleep(PAUSE)
            with stopped(other.pids()):
                r = mover.move(tls)
            results.append({**r, "rate": r["mib"] / max(r["moving"], 0.001)})
    return {key: ([r[key] for r in mine], [r[key] for r in theirs]) for key in WHAT}


def note(report, name, found, table):
    cells = []
    for key, what in WHAT.items():
        unit, scale = ("MiB/s", 1) if key == "rate" else ("ms", 1000)
        a, b = ([scale * value for value in values] for values in found[key])
        report.compare(f"{what.rsplit(' ', 1)[0] if unit == 'ms' else 'bandwidth'}: {name}", a, b, "bare QEMU", unit, by_peer=True)
        cells += [f"{statistics.median(a):.0f}", f"{statistics.median(b):.0f}"]
    table.append([name, *cells])


def show(table):
    head = ["guest, disk, connection", *(cell for what in WHAT.values() for cell in (what, "bare"))]
    widths = [max(len(row[i]) for row in [head, *table]) for i in range(len(head))]
    for row in [head, *table]:
        print("  " + "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))), flush=True)


def run(report, runs):
    runs = max(3, runs // 3)
    directory = tempfile.mkdtemp(prefix="tarn-b-")
    ours = None
    table = []
    try:
        credentials(directory)
        ours = Ours()
        accelerator = ours.c.api.get("/servers/server1")["hypervisors"][0]["accelerator"]
        for local in (False, True):
            for writing in (False, True):
                ours.boot(local, writing)
                peer = Peer(ours, directory, local, accelerator, writing)
                try:
                    for tls in (False, True):
                        name = f"{'writing' if writing else 'idle'}, {'local' if local else 'shared'}, {'TLS' if tls else 'plain'}"
                        note(report, name, pairs(ours, peer, tls, runs), table)
                finally:
                    peer.end()
                ours.end(writing)
        report.note("migrations", f"{MEMORY} MiB guest with {accelerator}, medians of {runs}")
        show(table)
    finally:
        if ours:
            ours.c.close()
        shutil.rmtree(directory, ignore_errors=True)
