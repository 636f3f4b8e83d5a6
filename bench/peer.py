# SPDX-License-Identifier: Apache-2.0
"""libvirt as the peer: a private libvirtd with directories of its own, so that the machine's own is left alone."""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time

PR_SET_CHILD_SUBREAPER = 36


def installed():
    return all(shutil.which(name) for name in ("libvirtd", "virsh"))


def reaper(command):
    """Runs the command under a process that reaps its orphans: without one virsh destroy waits for a pid 1 that may be slow."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.spawnvp(os.P_NOWAIT, command[0], command)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    while True:
        try:
            os.wait()
        except InterruptedError:
            continue
        except ChildProcessError:
            os._exit(0)


class Libvirt:
    """libvirtd as root in a mount namespace: its own /run, /etc/libvirt and /var/lib/libvirt; else the user's session daemon."""

    def __init__(self, see_kvm):
        self.dir = tempfile.mkdtemp(prefix="tarn-l-", dir="/tmp")
        for name in ("run", "etc", "lib", "cache", "log"):
            os.mkdir(f"{self.dir}/{name}")
        root = os.geteuid() == 0
        self.uri = "qemu:///system" if root else "qemu:///session"
        self.env = dict(os.environ, LC_ALL="C", XDG_RUNTIME_DIR=self.dir + "/run", XDG_CONFIG_HOME=self.dir + "/etc",
                        XDG_CACHE_HOME=self.dir + "/cache")
        if root:
            shutil.copytree("/etc/libvirt", f"{self.dir}/etc", dirs_exist_ok=True)
            with open(f"{self.dir}/etc/qemu.conf", "a") as f:
                f.write('user = "root"\ngroup = "root"\nsecurity_driver = "none"\ncgroup_controllers = []\nnamespaces = []\n'
                        'remember_owner = 0\ndynamic_ownership = 0\nstdio_handler = "file"\n')
            with open(f"{self.dir}/etc/libvirtd.conf", "a") as f:
                f.write('auth_unix_ro = "none"\nauth_unix_rw = "none"\n')
            mounts = [f"mount --bind {self.dir}/{name} {path} &&" for name, path in
                      (("run", "/run"), ("etc", "/etc/libvirt"), ("lib", "/var/lib/libvirt"), ("cache", "/var/cache/libvirt"),
                       ("log", "/var/log/libvirt"))]
            hide = [] if see_kvm or not os.path.exists("/dev/kvm") else [f"mount --bind {self.dir}/none /dev/kvm &&"]
            open(self.dir + "/none", "w").close()
            script = " ".join(["mkdir -p /var/lib/libvirt /var/cache/libvirt /var/log/libvirt &&", *mounts, *hide,
                               "exec libvirtd --timeout 600"])
            command = ["unshare", "--mount", "--propagation=private", "--", "sh", "-c",
                       f"{script} >{self.dir}/out 2>&1"]
        else:
            command = ["sh", "-c", f"exec libvirtd --timeout 600 >{self.dir}/out 2>&1"]
        environ = dict(os.environ)
        os.environ.update(self.env)
        self.pid = reaper(command)
        os.environ.clear()
        os.environ.update(environ)
        self.socket = f"{self.dir}/run/libvirt/libvirt-sock"
        deadline = time.monotonic() + 30
        while not os.path.exists(self.socket) or self.virsh("list", check=False).returncode:
            if time.monotonic() > deadline:
                self.close()
                raise RuntimeError(f"libvirtd does not answer; see {self.dir}/out")
            time.sleep(0.2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def arguments(self, *args):
        return ["virsh", "-q", "-c", f"{self.uri}?socket={self.socket}", *args]

    def virsh(self, *args, check=True):
        return subprocess.run(self.arguments(*args), env=self.env, capture_output=True, text=True, check=check)

    def timed(self, *args):
        began = time.perf_counter()
        subprocess.run(self.arguments(*args), env=self.env, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    def define(self, name, kind, memory, kernel=None, initrd=None, disk=None, accelerator="tcg"):
        boot = (f"<kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>console=ttyS0 quiet</cmdline>" if kernel else "")
        disks = (f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>"
                 "<target dev='vda' bus='virtio'/></disk>" if disk else "")
        xml = f"""<domain type='{"kvm" if accelerator == "kvm" else "qemu"}'><name>{name}</name>
            <memory unit='b'>{memory}</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='{kind}'>hvm</type>{boot}</os>
            <features><acpi/></features><on_poweroff>destroy</on_poweroff>
            <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{disks}
            <interface type='user'><model type='virtio'/></interface><serial type='pty'/><memballoon model='virtio'/>
            <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices></domain>"""
        path = f"{self.dir}/{name}.xml"
        with open(path, "w") as f:
            f.write(xml)
        self.virsh("define", path)

    def close(self):
        if self.pid:
            for name in self.virsh("list", "--name", check=False).stdout.split():
                self.virsh("destroy", name, check=False)
            os.kill(self.pid, signal.SIGTERM)
            os.waitpid(self.pid, 0)
            self.pid = None
        shutil.rmtree(self.dir, ignore_errors=True)
