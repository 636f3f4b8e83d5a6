# SPDX-License-Identifier: Apache-2.0
"""From the request to vCPUs running, over bare QEMU with the arguments that the agent gave it, and beside libvirt."""

import json
import os
import re
import signal
import socket
import subprocess
import time

import cluster
import peer

# Stands in QEMU's place for one start: writes down how it was called, and with which descriptors.
WRAPPER = r"""#!/bin/bash
case " $* " in *" -uuid "*)
    { for a in "$@"; do printf '%s\0' "$a"; done; } >"RECORD.args"
    for fd in /proc/$$/fd/*; do printf '%s %s %s\n' "${fd##*/}" "$(readlink "$fd")" \
        "$(awk '$1 == "flags:" {print $2}' "/proc/$$/fdinfo/${fd##*/}")"; done >"RECORD.fds" 2>/dev/null ;;
esac
# It finds its modules and firmware by its own path, which is another here.
export QEMU_MODULE_DIR=/usr/lib/x86_64-linux-gnu/qemu
exec REAL -L /usr/share/qemu -L /usr/share/seabios "$@"
"""


class Bare:
    """QEMU started by hand as the agent starts it: same arguments, same files at the same numbers, sockets of our own."""

    def __init__(self, record, qemu):
        with open(record + ".args", "rb") as f:
            self.args = [qemu.encode(), *f.read().split(b"\0")[:-1]]
        self.qemu = qemu
        self.files, self.sockets, self.qmp = {}, [], None
        text = b"\0".join(self.args).decode(errors="replace")
        for name in re.findall(r"socket,id=[\w-]+,fd=(\d+)", text):
            self.sockets.append(int(name))
        match = re.search(r"socket,id=qmp,fd=(\d+)", text)
        self.qmp_number = int(match.group(1))
        with open(record + ".fds") as f:
            for line in f:
                number, path, flags = line.split()[:3]
                if re.search(rf"(fd=|/proc/self/fd/){number}\b", text) and int(number) not in self.sockets:
                    self.files[int(number)] = (path, int(flags, 8) & os.O_ACCMODE)

    def start(self, directory):
        """Seconds from the spawn to running."""
        actions, ours = [], []
        address = None
        for number in self.sockets:
            s = socket.socket(socket.AF_UNIX)
            path = f"{directory}/s{number}"
            if os.path.exists(path):
                os.unlink(path)
            s.bind(path)
            s.listen(4)
            ours.append(s)
            high = os.dup2(s.fileno(), 200 + number, False)
            actions.append((high, number))
            if number == self.qmp_number:
                address = path
        for number, (path, mode) in self.files.items():
            fd = os.open(path, mode)
            high = os.dup2(fd, 200 + number, False)
            os.close(fd)
            actions.append((high, number))
        null = os.open("/dev/null", os.O_RDWR)
        spawn = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
        spawn += [(os.POSIX_SPAWN_DUP2, high, number) for high, number in actions]
        qmp = socket.socket(socket.AF_UNIX)
        began = time.perf_counter()
        pid = os.posix_spawn(self.qemu, self.args, {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/"},
                             file_actions=spawn)
        qmp.connect(address)
        lines = qmp.makefile("rw")
        lines.readline()

        def ask(command):
            lines.write(json.dumps({"execute": command}) + "\n")
            lines.flush()
            while True:
                answer = json.loads(lines.readline())
                if "return" in answer or "error" in answer:
                    return answer.get("return")
        ask("qmp_capabilities")
        if "-S" in [a.decode() for a in self.args]:
            ask("cont")
        while not ask("query-status")["running"]:
            pass
        took = time.perf_counter() - began
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        qmp.close()
        for s in ours:
            s.close()
        for high, _ in actions:
            os.close(high)
        os.close(null)
        return took


def start_ours(api, stream, name):
    """Seconds from sending the request to the message that it runs."""
    before = api.get(f"/vms/{name}")["revision"]
    began = time.perf_counter()
    api.post(f"/vms/{name}/start")
    wait_running(stream, name, before)
    return time.perf_counter() - began


def wait_running(stream, name, before=0):
    """Until the stream says that it runs, in a revision after the one given: the last ones of an earlier run may be on their way."""
    while True:
        vm = json.loads(stream.receive(60)).get("object", {})
        if vm.get("name") == name and vm.get("state") == "running" and vm["revision"] > before:
            return


def machine(report, runs, kind, memory):
    real = subprocess.run(["sh", "-c", "command -v qemu-system-x86_64"], capture_output=True, text=True).stdout.strip()
    c = cluster.Cluster(0, prefix="tarn-b-")
    try:
        wrapper, record, moved = (os.path.join(c.dir, name) for name in ("wrapper", "record", "real"))
        with open(wrapper, "w") as f:
            f.write(WRAPPER.replace("RECORD", record).replace("REAL", moved))
        os.chmod(wrapper, 0o755)
        open(moved, "w").close()
        c.start()
        agent = c.add_agent("bench", start=False)
        spaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
        agent.spawn(["unshare", *spaces, "--propagation=private", "--", "sh", "-c",
                     'mount --bind "$0" "$1" && mount --bind "$2" "$0" && shift 2 && exec "$@"', real, moved, wrapper,
                     cluster.AGENT, "--state-dir", agent.state])
        c.wait_online("bench")
        c.repository()
        c.tiny_template(machine=kind, memory=memory)
        c.vm("vm", start=True)
        c.api.do("/vms/vm/kill")
        agent.stop()
        agent.start()
        c.wait_online("bench")
        bare = Bare(record, real)
        ours, theirs, jobs = [], [], []
        with c.api.socket("/stream?kinds=vm") as stream:
            for number in range(runs + 2):
                one = start_ours(c.api, stream, "vm")
                began = time.perf_counter()
                c.api.do("/vms/vm/kill")
                jobs.append(time.perf_counter() - began)
                two = bare.start(c.dir)
                if number >= 2:  # the first ones warm the caches
                    ours.append(1000 * one)
                    theirs.append(1000 * two)
        report.compare(f"VM start, {kind}", ours, theirs, "bare QEMU", "ms", "at most 1.3", at_most=1.3)
        accelerator = c.api.get("/servers/bench")["hypervisors"][0]["accelerator"]
        if peer.installed():
            with peer.Libvirt(accelerator == "kvm") as libvirt:
                folder = cluster.images()
                libvirt.define("vm", kind="q35", memory=memory, kernel=folder + "/vmlinuz", initrd=folder + "/initrd.img",
                               accelerator=accelerator)
                ours, theirs = [], []
                with c.api.socket("/stream?kinds=vm") as stream:
                    for number in range(runs + 1):
                        one = start_ours(c.api, stream, "vm")
                        c.api.do("/vms/vm/kill")
                        two = libvirt.timed("start", "vm")
                        libvirt.virsh("destroy", "vm")
                        if number:
                            ours.append(1000 * one)
                            theirs.append(1000 * two)
                report.compare(f"VM start, {kind}, beside libvirt", ours, theirs, "virsh start (q35)", "ms", "at least 5",
                               at_least=5)
        else:
            report.note(f"VM start, {kind}, beside libvirt", "libvirt is not installed: ./setup peers")
    finally:
        c.close()


def run(report, runs):
    machine(report, runs, "microvm", 96 << 20)
    machine(report, runs, "q35", 128 << 20)
