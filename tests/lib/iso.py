# SPDX-License-Identifier: Apache-2.0
"""Small CDs for tests: one that boots debian-tiny's kernel by isolinux, and ones with a file or two in them."""

import os
import shutil
import subprocess
import tempfile

import cluster

ISOLINUX = "/usr/lib/ISOLINUX/isolinux.bin"
LDLINUX = "/usr/lib/syslinux/modules/bios/ldlinux.c32"


def make(path, label, files, options=()):
    """An ISO image with these {name: bytes}."""
    with tempfile.TemporaryDirectory(prefix="tarn-iso-", dir="/tmp") as folder:
        for name, data in files.items():
            full = os.path.join(folder, name)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            if isinstance(data, bytes):
                with open(full, "wb") as f:
                    f.write(data)
            else:
                shutil.copyfile(data.name, full)
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-V", label, "-J", "-R", *options, folder], check=True,
                       capture_output=True)
    return path


class Copy:
    def __init__(self, name):
        self.name = name


def bootable(path, label="TARNBOOT", flavour="full"):
    """A CD that boots to debian-tiny's prompt on the serial console. The full kernel: the cloud one has no AHCI, so no CD."""
    folder = cluster.images(flavour)
    config = b"default tiny\nprompt 0\nlabel tiny\n  kernel /vmlinuz\n  append initrd=/initrd.img console=ttyS0 quiet no_timer_check\n"
    files = {"isolinux/isolinux.bin": Copy(ISOLINUX), "isolinux/ldlinux.c32": Copy(LDLINUX), "isolinux/isolinux.cfg": config,
             "vmlinuz": Copy(folder + "/vmlinuz"), "initrd.img": Copy(folder + "/initrd.img"), "hello.txt": b"hello from the CD\n"}
    return make(path, label, files, ["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4",
                                     "-boot-info-table"])
