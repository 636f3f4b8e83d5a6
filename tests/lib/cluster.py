# SPDX-License-Identifier: Apache-2.0
"""Real managers and agents in a directory of their own, for tests and benchmarks.

Everything that a Cluster starts is ended by its close(), by pid: its daemons, and the guests, which have files in
the cluster's directory open. What the sanitizers have written is a failure of the test that closes the cluster.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import rest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("TARN_BUILD", os.path.join(ROOT, "build"))
MANAGER = os.path.join(BUILD, "src/manager/tarn-manager")
AGENT = os.path.join(BUILD, "src/agent/tarn-agent")
CLI = os.path.join(BUILD, "src/cli/tarn")
# A guest of the tests: trimmed, so that many fit on two CPUs.
TINY = {"machine": "microvm", "memory": 96 << 20, "cmdline": "console=ttyS0 quiet"}
NO_REPORT = re.compile(r"|==\d+==Running thread \d+ was not suspended\. False leaks are possible\.")


def wait_until(question, timeout=20, what="it", pause=0.02):
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + timeout
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {timeout} s")
        time.sleep(pause)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def images(flavour=None):
    """The directory with debian-tiny's vmlinuz and initrd.img."""
    out = os.path.join(os.environ.get("TARN_TEST_IMAGES", os.path.join(BUILD, "images")), flavour or "cloud")
    if not os.path.exists(os.path.join(out, "initrd.img")):
        subprocess.run([os.path.join(ROOT, "tools/debian-tiny/make")] + (["--full"] if flavour == "full" else []) + [out],
                       check=True)
    return out


def files_of(pid):
    """What a process has open; a guest has its standard error below its agent's directory."""
    try:
        return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return []


def processes(directory):
    """{pid: argument list} of the processes that name the directory in their arguments or have a file in it open."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as f:
                args = f.read()
        except OSError:
            continue
        if args and (directory.encode() in args or any(path.startswith(directory) for path in files_of(name))):
            found[int(name)] = args.decode(errors="replace").split("\0")[:-1]
    return found


def kill_pid(pid, how=signal.SIGKILL):
    try:
        os.kill(pid, how)
        return True
    except ProcessLookupError:
        return False


def gone(pid):
    """Whether a process has ended; a zombie that nobody reaps has."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


class Daemon:
    """A program with a log file, that can be ended and started again."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.log = os.path.join(cluster.dir, name + ".log")
        self.process = None

    def spawn(self, args, env=None):
        full = dict(os.environ, ASAN_OPTIONS=f"log_path={self.cluster.dir}/sanitizer.{self.name}:exitcode=99",
                    UBSAN_OPTIONS=f"print_stacktrace=1:log_path={self.cluster.dir}/sanitizer.{self.name}")
        full.update(env or {})
        with open(self.log, "ab") as log:
            self.process = self.popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=full,
                                      cwd=self.cluster.dir)

    popen = staticmethod(subprocess.Popen)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, timeout=20):
        """As an administrator does; the exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} did not end on SIGTERM; {self.tail()}") from None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def tail(self, size=3000):
        try:
            with open(self.log, "rb") as f:
                f.seek(max(0, os.path.getsize(self.log) - size))
                return f"{self.log}:\n" + f.read().decode(errors="replace")
        except OSError as error:
            return str(error)


class Manager(Daemon):
    def __init__(self, cluster):
        super().__init__(cluster, "manager")
        self.host, self.port = self.place()
        self.state = os.path.join(cluster.dir, "manager")
        self.console_dir = ""  # none, whatever is installed on this machine

    def place(self):
        """Address and port to listen on."""
        return "127.0.0.1", free_port()

    @property
    def ca(self):
        return os.path.join(self.state, "ca.pem")

    @property
    def url(self):
        return f"https://{self.host}:{self.port}"

    def arguments(self, *more):
        return [MANAGER, "--state-dir", self.state, "--listen", f"{self.host}:{self.port}",
                "--console-dir", self.console_dir, *more]

    def start(self, env=None, wait=True, more=()):
        self.spawn(self.arguments(*more), env)
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout=30):
        def ready():
            if not self.running():
                raise AssertionError(f"the manager ended with {self.process.returncode}; {self.tail()}")
            try:
                return os.path.exists(self.ca) and rest.Client(self.host, self.port, self.ca).get("/about")
            except (OSError, rest.ApiError, ValueError):
                return None
        return wait_until(ready, timeout, "the manager's answer")

    def password(self):
        with open(os.path.join(self.state, "admin-password")) as f:
            return f.read().strip()

    def client(self):
        return rest.Client(self.host, self.port, self.ca)


class Agent(Daemon):
    def __init__(self, cluster, name):
        super().__init__(cluster, name)
        self.state = os.path.join(cluster.dir, name)
        self.repository = os.path.join(cluster.dir, name + ".repo")

    def join(self, secret, fingerprint):
        token = os.path.join(self.cluster.dir, self.name + ".token")
        with open(token, "w") as f:
            f.write(secret)
        done = self.run([AGENT, "join", "--manager", self.cluster.manager.url, "--token-file", token,
                         "--ca-fingerprint", fingerprint, "--name", self.name, "--state-dir", self.state])
        if done.returncode:
            raise AssertionError(f"join failed with {done.returncode}: {done.stderr}")

    def run(self, args, timeout=60):
        """A command on this server, to its end."""
        return subprocess.run(args, capture_output=True, text=True, timeout=timeout)

    def start(self, env=None, more=()):
        self.spawn([AGENT, "--state-dir", self.state, *more], env)

    def guests(self):
        """{vm's id: pid} of the QEMUs that run here."""
        found = {}
        for pid, args in processes(self.state).items():
            if "qemu" in os.path.basename(args[0]) and "-uuid" in args and not gone(pid):
                found[args[args.index("-uuid") + 1]] = pid
        return found

    def repository_files(self):
        """Every file and directory in the repository, relative."""
        found = []
        for folder, dirs, files in os.walk(self.repository):
            found += [os.path.relpath(os.path.join(folder, name), self.repository) for name in dirs + files]
        return sorted(found)


class Cluster:
    MANAGER, AGENT = Manager, Agent

    def __init__(self, agents=1, driver="qemu", prefix="tarn-t-", directory=None):
        self.dir = directory or tempfile.mkdtemp(prefix=prefix, dir=os.environ.get("TARN_TEST_TMP", "/tmp"))
        self.manager = self.MANAGER(self)
        self.agents = []
        self.driver = driver
        self.wanted = agents
        self.api = None
        self.keep = bool(os.environ.get("TARN_KEEP"))

    def start(self):
        self.manager.start()
        self.api = self.manager.client().sign_in("admin", self.manager.password())
        for number in range(self.wanted):
            self.add_agent(f"server{number + 1}")
        return self

    def add_agent(self, name, start=True, env=None):
        agent = self.AGENT(self, name)
        self.agents.append(agent)
        token = self.api.post("/server-tokens", {"name": name})
        agent.join(token["secret"], token["ca_fingerprint"])
        if start:
            agent.start(env)
            self.wait_online(name)
        return agent

    @property
    def agent(self):
        return self.agents[0]

    def online(self, name):
        try:
            return self.api.get("/servers/" + name)["state"] == "online"
        except rest.ApiError:
            return False

    def connected(self):
        """How many agents are connected now. A manager that has just started still believes what is stored."""
        text = self.api.raw("GET", "//metrics").data.decode()
        return int(float(re.search(r"^tarn_agents_connected (\S+)", text, re.M).group(1)))

    def wait_online(self, name, timeout=60):
        try:
            wait_until(lambda: self.online(name) and self.connected(), timeout, f"{name} online")
        except TimeoutError as error:
            logs = "\n".join(daemon.tail() for daemon in [self.manager, *self.agents])
            raise AssertionError(f"{error}\n{logs}") from None

    def restart_manager(self, env=None, kill=False):
        if kill:
            self.manager.kill()
        else:
            self.manager.stop()
        self.api.close()
        self.manager.start(env)
        for agent in self.agents:
            if agent.running():
                self.wait_online(agent.name)

    # ---- what most tests need ----

    def repository(self, name="local", agent=None):
        agent = agent or self.agent
        self.api.do("/repositories", {"name": name, "server": agent.name, "path": agent.repository})
        return name

    def tiny_template(self, name="tiny", **more):
        """A template of debian-tiny's kernel and initramfs, read from a path on the server."""
        folder = images()
        body = {"name": name, "kernel_image": {"path": folder + "/vmlinuz"}, "initrd_image": {"path": folder + "/initrd.img"}}
        body.update(TINY)
        body.update(more)
        self.api.do("/templates", body, timeout=120)
        return name

    def vm(self, name, start=True, timeout=120, **more):
        body = {"name": name, "template": "tiny", "start": start, "display": "none", "restart_policy": "never"}
        body.update(more)
        self.api.do("/vms", body, timeout)
        return self.api.get("/vms/" + name)

    def vm_state(self, name):
        return self.api.get("/vms/" + name)["state"]

    def wait_vm(self, name, state, timeout=30):
        try:
            wait_until(lambda: self.vm_state(name) == state, timeout, f"{name} {state}")
        except TimeoutError as error:
            vm = self.api.get("/vms/" + name)
            raise AssertionError(f"{error}; it is {vm['state']}: {vm.get('state_reason')}") from None

    def console(self, vm):
        return rest.Console(self.api, vm)

    def cli(self, *args, stdin=None, token=None, timeout=60, env=None):
        full = dict(os.environ, TARN_URL=self.manager.url, TARN_CA=self.manager.ca, TARN_TOKEN=token or self.api.token,
                    XDG_CONFIG_HOME=self.dir + "/config", LC_ALL="C.UTF-8")
        full.update(env or {})
        return subprocess.run([CLI, *args], input=stdin, capture_output=True, text=True, timeout=timeout, env=full)

    # ---- the end ----

    def sanitizer_reports(self):
        reports = []
        for name in sorted(os.listdir(self.dir)):
            if name.startswith("sanitizer."):
                with open(os.path.join(self.dir, name), errors="replace") as f:
                    text = f.read(6000)
                # On a loaded machine it may warn that it could not hold a thread; without leaks found that is no report.
                if any(not NO_REPORT.fullmatch(line) for line in text.splitlines()):
                    reports.append(f"{name}:\n{text}")
        return reports

    def close(self):
        """Ends everything; raises AssertionError where a sanitizer complained or a daemon ended badly."""
        problems = []
        for daemon in [*self.agents, self.manager]:
            try:
                was_running = daemon.running()
                status = daemon.stop()
                if was_running and status not in (0, -signal.SIGTERM):
                    problems.append(f"{daemon.name} ended with {status}; {daemon.tail()}")
            except AssertionError as error:
                problems.append(str(error))
        deadline = time.monotonic() + 10
        while processes(self.dir) and time.monotonic() < deadline:
            for pid in processes(self.dir):
                kill_pid(pid)
            time.sleep(0.05)
        problems += self.sanitizer_reports()
        if self.keep or (problems and os.environ.get("TARN_KEEP_FAILED")):
            print(f"kept: {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        if problems:
            raise AssertionError("\n".join(problems))


class ClusterCase(unittest.TestCase):
    """Tests that share one manager and its agents. AGENTS and DRIVER may be set by a class."""

    AGENTS, DRIVER = 1, "qemu"
    REPOSITORY, TEMPLATE = True, True

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(cls.AGENTS, cls.DRIVER)
        try:
            cls.cluster.start()
            cls.api = cls.cluster.api
            if cls.REPOSITORY:
                cls.cluster.repository()
            if cls.TEMPLATE:
                cls.cluster.tiny_template()
            cls.prepare()
        except BaseException:
            print("\n".join(daemon.tail() for daemon in [cls.cluster.manager, *cls.cluster.agents]), file=sys.stderr)
            try:
                cls.cluster.close()
            except AssertionError as error:
                print(error, file=sys.stderr)
            raise

    @classmethod
    def prepare(cls):
        """More to set up, for a class."""

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def refused(self, status, code, method, path, body=None, headers=None):
        """The request is refused with this status and code; the error."""
        answer = self.api.raw(method, path, body, headers)
        self.assertEqual((answer.status, answer.data and answer.json.get("code")), (status, code), answer.data[:400])
        self.assertTrue(answer.json.get("message"), "an error without a message")
        return answer.json


def pretty(value):
    return json.dumps(value, indent=2, ensure_ascii=False)
