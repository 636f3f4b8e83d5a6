# SPDX-License-Identifier: Apache-2.0
"""Deploy and start from a template of 10 GiB with 8 GiB of data, beside virt-clone and virsh start."""

import os
import shutil
import subprocess
import time

import cluster
import peer
import start

DATA = int(os.environ.get("BENCH_DATA", "8"))


def make_image(path):
    """qcow2, 10 GiB, DATA GiB of it written: incompressible pieces, so that nothing is taken for zeroes."""
    raw = path + ".raw"
    piece = os.urandom(16 << 20)
    with open(raw, "wb") as f:
        f.truncate(10 << 30)
        for number in range(DATA * 64):
            f.write(number.to_bytes(8, "big") + piece[8:])
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    os.unlink(raw)


def run(report, runs):
    runs = max(3, runs // 3)
    c = cluster.Cluster(1, prefix="tarn-b-")
    try:
        c.start()
        c.repository()
        image = os.path.join(c.dir, "big.qcow2")
        make_image(image)
        began = time.perf_counter()
        c.api.do("/templates", {"name": "big", "image": {"path": image}, "memory": 128 << 20}, timeout=1800)
        report.add(f"import of a template with {DATA} GiB of data", time.perf_counter() - began, "s")
        ours = []
        with c.api.socket("/stream?kinds=vm") as stream:
            for number in range(runs + 1):
                began = time.perf_counter()
                job = c.api.post("/vms", {"name": f"vm{number}", "template": "big", "start": True, "display": "none"})
                start.wait_running(stream, f"vm{number}")
                took = time.perf_counter() - began
                c.api.wait_job(job)
                c.api.do(f"/vms/vm{number}/kill")
                c.api.remove(f"/vms/vm{number}")
                if number:
                    ours.append(1000 * took)
        if peer.installed() and shutil.which("virt-clone"):
            theirs = []
            accelerator = c.api.get("/servers/server1")["hypervisors"][0]["accelerator"]
            with peer.Libvirt(accelerator == "kvm") as libvirt:
                libvirt.define("big", kind="q35", memory=128 << 20, disk=image, accelerator=accelerator)
                for number in range(2):
                    clone = os.path.join(c.dir, "clone.qcow2")
                    began = time.perf_counter()
                    subprocess.run(["virt-clone", "-q", "--connect", f"{libvirt.uri}?socket={libvirt.socket}", "-o", "big", "-n",
                                    "clone", "-f", clone], check=True, env=libvirt.env, capture_output=True)
                    libvirt.virsh("start", "clone")
                    theirs.append(1000 * (time.perf_counter() - began))
                    libvirt.virsh("destroy", "clone")
                    libvirt.virsh("undefine", "clone")
                    os.unlink(clone)
            theirs = [sum(theirs) / len(theirs)] * len(ours)
            report.compare("deploy and start, 10 GiB template", ours, theirs, "virt-clone + virsh start", "ms", "at least 50",
                           at_least=50)
        else:
            report.add("deploy and start, 10 GiB template", ours, "ms")
            report.note("deploy and start, beside libvirt", "libvirt or virt-clone is not installed: ./setup peers")
    finally:
        c.close()
