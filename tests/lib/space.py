# SPDX-License-Identifier: Apache-2.0
"""Machines that are namespaces: each has a network, mounts and a host name of its own, and Ethernets join them.

A Space lives as long as its keeper, a process that does nothing; with the keeper goes its network, and with one end of a
cable the other. So whatever happens to us, what is left to clean up is a few processes, each known by its pid and the moment
at which it started. A keeper waits for our word before it stays: one that nobody has written down ends with us.

An Ethernet is a bridge in one Space, the fabric. A machine that is cut off has its port taken out of the bridge: its cable
stays up and nothing comes through, as behind a broken switch.
"""

import json
import os
import select
import signal
import subprocess
import time

KEEPER = """set -e
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
umount -l /run/cgroup
rmdir /run/cgroup
hostname "$1"
ip link set lo up
echo ready
read -r word
exec sleep infinity </dev/null >/dev/null 2>&1
"""


class LabError(Exception):
    """Something that the person at the keyboard can do something about."""


def boot_id():
    with open("/proc/sys/kernel/random/boot_id") as f:
        return f.read().strip()


def stat_of(pid):
    """(state, start time) of a process, or None."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return fields[0], int(fields[19])


class Found:
    """A process that need not be our child, known by pid and start time. It has Popen's ways, as far as they are used."""

    def __init__(self, pid, start):
        self.pid, self.start, self.returncode = pid, start, None

    def poll(self):
        stat = stat_of(self.pid)
        if self.returncode is None and (not stat or stat[1] != self.start or stat[0] == "Z"):
            self.returncode = 0  # nobody can say how
        return self.returncode

    def wait(self, timeout=None):
        deadline = time.monotonic() + timeout if timeout is not None else None
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        # Between the look and the signal another process may get the pid: the descriptor holds on to this one.
        try:
            fd = os.pidfd_open(self.pid)
        except OSError:
            return
        try:
            if self.poll() is None:
                signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def identify(process):
    """What to write down, to find a process again; None for one that is not there."""
    stat = stat_of(process.pid) if process is not None else None
    return {"pid": process.pid, "start": stat[1]} if stat and stat[0] != "Z" else None


def find_again(written):
    return Found(written["pid"], written["start"]) if written else None


def run(args, text=None):
    done = subprocess.run(args, input=text, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"{' '.join(args)}: {(done.stderr or done.stdout).strip()}\n{text or ''}")
    return done.stdout


class Space:
    def __init__(self, name, keeper=None):
        self.name, self.keeper = name, keeper

    def make(self, remember):
        """Makes the namespaces; remember() is called when there is something to write down, before it becomes lasting."""
        process = subprocess.Popen(["unshare", "--net", "--mount", "--uts", "--propagation", "private", "sh", "-c", KEEPER, "keeper",
                                    self.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=True, cwd="/")
        ready = select.select([process.stdout], [], [], 20)[0] and process.stdout.readline().strip() == b"ready"
        if not ready:
            process.kill()
            why = process.communicate()[1].decode(errors="replace").strip()
            raise LabError(f"cannot make network and mount namespaces: {why or 'no answer'}. This needs root with CAP_SYS_ADMIN and "
                           "CAP_NET_ADMIN (in a container: docker run --privileged)")
        self.keeper = process
        remember()
        process.stdin.write(b"stay\n")
        process.stdin.close()
        process.stdout.close()
        process.stderr.close()

    def alive(self):
        return self.keeper is not None and self.keeper.poll() is None

    def enter(self, args, directory="/"):
        """The command line that runs args here; the process is args' own, not one in between."""
        return ["nsenter", "-t", str(self.keeper.pid), "--net", "--mount", "--uts", f"--wd={directory}", "--", *args]

    def ip(self, lines):
        run(self.enter(["ip", "-batch", "-"]), "".join(line + "\n" for line in lines))

    def links(self):
        """{name: what ip says of it}."""
        return {link["ifname"]: link for link in json.loads(run(self.enter(["ip", "-json", "link", "show"])) or "[]")}

    def processes(self):
        """Pids of what runs here, but for the keeper: whatever its name, parent and user."""
        own = os.stat(f"/proc/{self.keeper.pid}/ns/net")
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) in (self.keeper.pid, os.getpid()):
                continue
            try:
                if os.stat(f"/proc/{name}/ns/net").st_ino == own.st_ino and stat_of(name)[0] != "Z":
                    found.append(int(name))
            except (OSError, TypeError):
                continue
        return found

    def kill_all(self, timeout=10):
        """As if the power went. What is born while we look is found at the next look."""
        deadline = time.monotonic() + timeout
        while self.alive():
            pids = self.processes()
            if not pids:
                return
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: {pids} do not end on SIGKILL")
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.005)

    def end(self):
        if self.alive():
            self.kill_all()
            self.keeper.kill()
            self.keeper.wait(10)


class Ethernet:
    """A bridge in the fabric, and a port for each machine on it."""

    def __init__(self, name, fabric):
        self.name, self.fabric = name, fabric

    def port(self, number):
        return f"{self.name}-{number}"

    def make(self):
        self.fabric.ip([f"link add {self.name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                        f"link set {self.name} up"])

    def plug(self, number, space, address):
        """Gives the machine an interface that has this Ethernet's name."""
        self.fabric.ip([f"link add {self.port(number)} type veth peer name {self.name} netns {space.keeper.pid}",
                        f"link set {self.port(number)} master {self.name} up"])
        space.ip([f"addr add {address}/24 dev {self.name}", f"link set {self.name} up"])

    def cut(self, number):
        self.fabric.ip([f"link set {self.port(number)} nomaster"])

    def island(self, number):
        return f"{self.name}.{number}"

    def split(self, islands):
        """Each list of ports but the first gets a bridge of its own."""
        lines = []
        for at, ports in enumerate(islands):
            bridge = self.island(at) if at else self.name
            if at and bridge not in self.fabric.links():
                lines += [f"link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0", f"link set {bridge} up"]
            lines += [f"link set {self.port(number)} master {bridge}" for number in ports]
        self.fabric.ip(lines)

    def heal(self, numbers):
        lines = [f"link set {self.port(number)} master {self.name} up" for number in numbers]
        self.fabric.ip(lines)
        links = self.fabric.links()
        used = {link.get("master") for link in links.values()}
        self.fabric.ip([f"link del {name}" for name in links if name.startswith(self.name + ".") and name not in used])

    def master(self, number, links):
        return links[self.port(number)].get("master")
