# SPDX-License-Identifier: Apache-2.0
"""Guests that tell afterwards how often they ran at once: each appends records, with its boot's id and a growing number, to its
disk. And the processes that run guests, as this machine sees them."""

import glob
import os
import signal
import subprocess

# Appends records of a sector: BOOT NUMBER. The first free one is found by halving: there may be many.
WRITER = """#!/bin/sh
boot=$(cat /proc/sys/kernel/random/boot_id)
size=$(cat /sys/block/vda/size)
at=0 end=$size
while [ $at -lt $end ]; do
    mid=$(((at + end) / 2))
    if [ -n "$(dd if=/dev/vda bs=512 skip=$mid count=1 2>/dev/null | tr -d '\\0')" ]; then at=$((mid + 1)); else end=$mid; fi
done
n=0
while [ $at -lt $size ]; do
    printf '%-511s\\n' "$boot $n" | dd of=/dev/vda bs=512 seek=$at conv=notrunc,fsync 2>/dev/null
    at=$((at + 1)) n=$((n + 1))
    sleep 0.2
done
"""


class Violation(AssertionError):
    """What must never be."""


def is_dying(pid):
    """Whether it has ended, or was killed and is on its way: it runs no instruction of a guest any more."""
    try:
        with open(f"/proc/{pid}/status") as f:
            fields = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
    except OSError:
        return True
    pending = int(fields.get("SigPnd", "0"), 16) | int(fields.get("ShdPnd", "0"), 16)
    return fields["State"][0] in "ZX" or bool(pending & 1 << (signal.SIGKILL - 1))


def qemus():
    """{VM's id: {pid: whether it is the destination of a move}} of every lab on this machine."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                args = f.read(65536).split(b"\0")
        except OSError:
            continue
        if b"-uuid" in args[:-1] and b"qemu" in args[0]:
            found.setdefault(args[args.index(b"-uuid") + 1].decode(), {})[int(path.split("/")[2])] = b"-incoming" in args
    return found


def image_of(directory, disk):
    """The file of a disk in a repository below the directory."""
    return next(path for path in glob.glob(f"{directory}/**/*{disk}*", recursive=True) if os.path.isfile(path))


def records_of(image):
    """[(boot, number), ...] of a guest's disk, which may be in use."""
    raw = image + ".check"
    subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", image, raw], check=True)
    found = []
    with open(raw, "rb") as f:
        while True:
            words = f.read(512).strip(b"\0 \n").split()
            if len(words) != 2:
                break
            found.append((words[0].decode(), int(words[1])))
    os.unlink(raw)
    return found


def check_records(name, records):
    """How many boots there are. Each boot's records stand together, in order and whole: whoever wrote beside another would have
    written over them."""
    boots = []
    for boot, number in records:
        if not boots or boots[-1][0] != boot:
            if boot in [old for old, _ in boots]:
                raise Violation(f"{name}: two writers")
            boots.append((boot, -1))
        if number != boots[-1][1] + 1:
            raise Violation(f"{name}: a record is missing: {boots[-1]} and then {boot} {number}")
        boots[-1] = (boot, number)
    return len(boots)
