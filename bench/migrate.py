# SPDX-License-Identifier: Apache-2.0
"""Live migrations between two agents, of a guest that is idle or writes its memory and disk, with shared and with local disks, plain and
with TLS; beside them the same guest moved by two bare QEMUs over QMP with the same settings, in turns.

Total: from the request to the end of the job, both with the start of the other QEMU; ours makes one-time credentials in it, and ends what is
left at the source. Moving: from QEMU's migrate to its
end, for both. Standing still: from the guest's pause to where it runs again, which is what a guest without hardware acceleration needs for
all of its memory. Every guest that writes checks itself afterwards (tests/guest/check.c)."""

import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

import checker
import cluster
import rest

MEMORY, DISK, CHECKED = 128, 64, 32  # MiB
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
        api = self.c.api
        api.do("/disks", {"name": "d", "repository": "local1" if local else "shared", "size": DISK << 20})
        api.do("/vms", {"name": "g", "template": "tiny", "pool": "east", "server": self.c.agents[0].name, "display": "none",
                        "start": True, "restart_policy": "never", "disks": [{"disk": "d"}]}, timeout=120)
        if writing:
            self.guest = checker.Checked(self.c, "g", CHECKED, DISK // 2)
        else:
            with rest.Console(api, "g") as console:
                console.send("\n")
                console.prompt(120)

    def move(self, local, tls, number):
        api = self.c.api
        api.patch("/pools/east", {"migration": {"tls": tls}})
        began = time.perf_counter()
        job = api.do("/vms/g/migrate", {"to": self.c.agents[(number + 1) % 2].name, "disks": local}, timeout=300)
        total = time.perf_counter() - began
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
    return time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + part)


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
    """One pair of certificates, of one authority: the making of them is not measured."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca-cert.pem",
            "-subj", "/CN=ca", "-days", "2")
    for who in ("server", "client"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{who}-key.pem", "-out", "csr",
                "-subj", "/CN=x", "-addext", "subjectAltName=DNS:x")
        with open(os.path.join(directory, "ext"), "w") as f:
            f.write("subjectAltName=DNS:x\n")
        openssl("x509", "-req", "-in", "csr", "-CA", "ca-cert.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{who}-cert.pem",
                "-days", "2", "-extfile", "ext")


def bare_move(source, there, local, tls, tcg, directory, began):
    """The same things in the same order, without an agent; seconds since `began`, when the other process was not there yet."""
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
    return {"total": time.perf_counter() - began, "moving": now["total-time"] / 1000, "still": still,
            "mib": now["ram"]["transferred"] / (1 << 20)}


def bare(ours, directory, local, tls, writing, accelerator, runs):
    results = []
    disks = [os.path.join(directory, f"disk{n}.qcow2") for n in range(2)]
    for disk in disks:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, f"{DISK}M"], check=True)
    tcg = accelerator == "tcg"

    def qemu(disk, incoming):
        return Bare(directory, ours.kernel, ours.initrd, disk, incoming, accelerator, "max,la57=off" if tcg else "host,migratable=on")
    source = qemu(disks[0], False)
    try:
        with source.serial() as s:
            s.send(b"\n")
            source.wait(s, b"# ")
            if writing:
                s.send(f"tarn-check {CHECKED} /dev/vda {DISK // 2} >/dev/console 2>&1 </dev/null &\n".encode())
                source.wait(s, b"CHECK pages")
                time.sleep(1)
        for number in range(runs):
            disk = disks[(number + 1) % 2] if local else disks[0]
            began = time.perf_counter()
            there = qemu(disk, True)
            try:
                results.append(bare_move(source, there, local, tls, tcg, directory, began))
            except BaseException:
                there.end()
                raise
            source.end()
            source = there
            time.sleep(1)
        return results
    finally:
        source.end()


# ---- the table ----

def run(report, runs):
    runs = max(3, runs // 3)
    directory = tempfile.mkdtemp(prefix="tarn-b-")
    ours = None
    try:
        credentials(directory)
        ours = Ours()
        accelerator = ours.c.api.get("/servers/server1")["hypervisors"][0]["accelerator"]
        for local in (False, True):
            for writing in (False, True):
                for tls in (False, True):
                    name = f"{'writing' if writing else 'idle'} guest, {'local' if local else 'shared'} disk, {'TLS' if tls else 'plain'}"
                    ours.boot(local, writing)
                    mine = []
                    for number in range(runs):
                        mine.append(ours.move(local, tls, number))
                        time.sleep(1)
                    ours.end(writing)
                    theirs = bare(ours, directory, local, tls, writing, accelerator, runs)
                    for key, what in (("total", "move"), ("still", "standing still")):
                        report.compare(f"{what}: {name}", [1000 * m[key] for m in mine], [1000 * t[key] for t in theirs], "bare QEMU", "ms")
                    report.compare(f"bandwidth: {name}", [m["mib"] / m["moving"] for m in mine if m["moving"]],
                                   [t["mib"] / t["moving"] for t in theirs if t["moving"]], "bare QEMU", "MiB/s")
        report.note("migrations", f"{MEMORY} MiB guest with {accelerator}; {statistics.median([m['mib'] for m in mine]):.0f} MiB sent")
    finally:
        if ours:
            ours.c.close()
        shutil.rmtree(directory, ignore_errors=True)
