# SPDX-License-Identifier: Apache-2.0
"""Faults drawn from a seed, and what must hold all the while: the parts of tests/integration/test_chaos.py.

Watch looks at the guests' processes. A guest that moves has two; whether both might run it cannot tell from outside, so it counts
only those of which it is sure: one that was started (not the destination of a move), and is not the source of one since. Two of
these at once are a violation, whatever else happens. What it is not sure of the disks tell at the end of each round.

Undo is what heals: it knows what was done, and takes it back when its time has come, or all of it at once."""

import os
import threading
import time

import cluster
import lab
import space
import writers

DISK = 64 << 20


class Watch(threading.Thread):
    def __init__(self, ids, say):
        super().__init__(daemon=True)
        self.ids, self.say, self.ended, self.lock = ids, say, False, threading.Lock()
        self.sure, self.known, self.double = {}, {}, []

    def run(self):
        while not self.ended:
            self.look()
            time.sleep(0.1)

    def look(self):
        there = writers.qemus()
        with self.lock:
            for name, vm in self.ids.items():
                now = {pid: incoming for pid, incoming in there.get(vm, {}).items() if not writers.is_dying(pid)}
                known, sure = self.known.setdefault(name, set()), self.sure.setdefault(name, set())
                new = now.keys() - known
                if any(now[pid] for pid in new):
                    sure.clear()  # it moves, or may have
                sure |= {pid for pid in new if not now[pid]}
                sure &= now.keys()
                if now.keys() != known:
                    self.say(f"{name}: processes {sorted(now) or 'none'}")
                self.known[name] = set(now)
                if len([pid for pid in sure if not writers.is_dying(pid)]) > 1:
                    self.say(f"{name}: TWO PROCESSES {sorted(sure)}")
                    self.double.append((name, sorted(sure)))

    def settled(self):
        """Each guest is known to have one process, which runs."""
        with self.lock:
            self.sure = {name: set(pids) for name, pids in self.known.items()}

    def processes(self, name):
        with self.lock:
            return {pid for pid in self.known.get(name, ()) if not writers.is_dying(pid)}


class Undo:
    def __init__(self):
        self.due = []

    def add(self, seconds, what):
        """what() is called when the seconds are over, or earlier by all(); None: by all() only."""
        self.due.append((time.monotonic() + seconds if seconds is not None else float("inf"), what))

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            for entry in [entry for entry in self.due if entry[0] <= now]:
                self.due.remove(entry)
                entry[1]()
            if now >= end:
                return
            time.sleep(0.05)

    def all(self):
        while self.due:
            self.due.pop(0)[1]()


def programs(lab_space, word):
    """The processes of a program in a machine, to be signalled safely."""
    found = []
    for pid in lab_space.processes():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                program = f.read().split(b"\0")[0]
        except OSError:
            continue
        if os.path.basename(program).startswith(word.encode()):
            written = space.identify(space.Found(pid, 0))
            if written:
                found.append(space.find_again(written))
    return found


def evidence(of):
    """What can be seen of a lab now, as text."""
    out = []
    for name in [lab.MANAGER, *of.names]:
        out.append(f"==== {name}")
        for pid in sorted(of.spaces[name].processes()):
            lines = [f"-- {pid}"]
            for part in ("cmdline", "status", "wchan", "syscall", "stack"):
                try:
                    with open(f"/proc/{pid}/{part}", "rb") as f:
                        text = f.read().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                if part == "status":
                    text = " ".join(line for line in text.splitlines() if line.startswith(("State", "SigPnd", "ShdPnd", "PPid")))
                lines.append(f"{part}: {text.strip()[:1500]}")
            out.append("\n".join(lines))
        if name != lab.MANAGER:
            out.append(of.run(name, ["sh", "-c", "ip -br link; tail -n 60 /run/tarn/*/deadman.log; corosync-quorumtool -s"]).stdout)
    return "\n".join(out)


def ask(api, method, path, body=None, timeout=5):
    """A request whose failure is no matter: (status, text)."""
    try:
        answer = api.raw(method, path, body, timeout=timeout)
        return answer.status, answer.data[:200].decode(errors="replace")
    except (OSError, ValueError, cluster.rest.ApiError, cluster.rest.http.client.HTTPException) as error:
        return 0, str(error)
