# SPDX-License-Identifier: Apache-2.0
"""A guest that checks its own memory and disk (tests/guest/check.c), on debian-tiny's kernel and initramfs."""

import gzip
import os
import re
import subprocess
import time

import cluster
import rest

SOURCE = os.path.join(cluster.ROOT, "tests/guest/check.c")
LINE = re.compile(r"CHECK pages=(\d+) blocks=(\d+) errors=(\d+) up=([\d.]+)\r?\n")


def cpio(name, data):
    """An archive in cpio's newc format with one executable file."""
    def entry(name, mode, data):
        fields = (1, mode, 0, 0, 1, 1, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        head += b"\0" * (-len(head) % 4)
        return head + data + b"\0" * (-len(data) % 4)
    return entry(name, 0o100755, data) + entry("TRAILER!!!", 0, b"")


def images(directory):
    """Paths of a kernel and an initramfs with the checker as /bin/tarn-check."""
    folder, program = cluster.images(), os.path.join(directory, "tarn-check")
    subprocess.run(["cc", "-O2", "-static", "-o", program, SOURCE], check=True)
    subprocess.run(["strip", program], check=True)
    initrd = os.path.join(directory, "check-initrd.img")
    with open(initrd, "wb") as out, open(folder + "/initrd.img", "rb") as tiny, open(program, "rb") as f:
        out.write(tiny.read())  # several archives in one file are one file system
        out.write(gzip.compress(cpio("bin/tarn-check", f.read()), 1))
    return folder + "/vmlinuz", initrd


class Checked:
    """A virtual machine in which the checker runs."""

    def __init__(self, of, name, memory=24, disk=8, device="/dev/vda"):
        self.cluster, self.name, self.last = of, name, None
        with rest.Console(of.api, name) as console:
            console.send("\n")
            console.prompt(120)
            console.command("stty -echo")
            area = f"{device} {disk}" if disk else ""
            console.send(f"tarn-check {memory} {area} >/dev/console 2>&1 </dev/null &\n")
            self.wait(console, 3)

    def wait(self, console, lines, timeout=60):
        """Reads so many of its lines; they must tell of no error and of work done."""
        deadline = time.monotonic() + timeout
        while True:
            # A console begins with what was said before: only what is newer counts.
            found = [(int(pages), int(blocks), int(errors), float(up)) for pages, blocks, errors, up in LINE.findall(console.text)]
            if "CHECK ERROR" in console.text or "CHECK cannot" in console.text or "Kernel panic" in console.text:
                raise AssertionError(f"{self.name} found an error: {console.text[-2000:]}")
            if [line for line in found if line[2]] or sorted(found) != found:
                raise AssertionError(f"{self.name} found errors, or has gone back: {found}")
            new = [line for line in found if not self.last or line[3] > self.last[3]]
            if len(new) >= lines:
                break
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{self.name} says nothing new; the console's last: {console.text[-1500:]!r}")
            try:
                console.text += console.ws.receive(left).decode(errors="replace")
            except TimeoutError:
                pass
        if self.last and new[0][0] < self.last[0]:
            raise AssertionError(f"{self.name} has gone back: {new[0]} after {self.last}")
        self.last = new[-1]
        return self.last

    def check(self, lines=3, timeout=60):
        """It goes on, from where it was, and finds no error."""
        with rest.Console(self.cluster.api, self.name) as console:
            return self.wait(console, lines, timeout)
