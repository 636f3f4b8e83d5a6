# SPDX-License-Identifier: Apache-2.0
"""A lab: a manager and servers, each a machine of its own as far as networks go, that can be cut off, split and killed.

Lab is a Cluster (cluster.py) whose daemons run in namespaces (space.py): a test uses it as one, and

    with lab.Lab(3) as l:
        l.cut("server2")                     all its networks; l.cut("server2", "heartbeat") one
        l.heal("server2")                    l.heal() everything
        l.split([["manager", "server1"], ["server2", "server3"]], "heartbeat")
        l.kill("server3")                    as if its power went: agent, guests, corosync, everything
        l.power_on("server3")
        l.stop("server3"), l.hang("server3"), l.resume("server3")

needs root. `make lab` uses the same code through tools/lab; there the Lab outlives the command, and Lab.load() finds it again by
what save() wrote: pids with their start times.
"""

import contextlib
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import cluster
from space import Ethernet, Found, LabError, Space, boot_id, find_again, identify, run

STATE = "lab.json"
# Role of an address -> the interface that every machine has for it. The manager is on the first only.
NETWORKS = {"management": "mgmt", "heartbeat": "hb", "heartbeat2": "hb2", "migration": "mig", "storage": "sto"}
MANAGER, FABRIC = "manager", "fabric"
MANAGER_NUMBER, HOST_NUMBER = 1, 254
PORT = 8443


def number_of(name):
    """The last byte of a machine's addresses."""
    return MANAGER_NUMBER if name == MANAGER else 10 + int(name[len("server"):])


class Machine:
    """Mixed into a Daemon: it runs in the Space of its name."""

    @property
    def space(self):
        return self.cluster.spaces[self.name]

    def popen(self, args, **more):
        process = subprocess.Popen(self.space.enter(args, more.pop("cwd")), start_new_session=True, **more)
        self.cluster.save(**{self.name: process})
        return process


class Manager(Machine, cluster.Manager):
    def place(self):
        return self.cluster.address("management", MANAGER), PORT

    def arguments(self, *more):
        return super().arguments("--name", self.host, "--rate", "1000000", *more)


class Agent(Machine, cluster.Agent):
    def run(self, args, timeout=60):
        return subprocess.run(self.space.enter(args), capture_output=True, text=True, timeout=timeout)


class Lab(cluster.Cluster):
    MANAGER, AGENT = Manager, Agent

    def __init__(self, servers=3, heartbeats=1, directory=None, prefix="tarn-l-", pool=False):
        self.wants_pool = pool
        self.number, self.ready, self.spaces = None, False, {}
        self.link = None  # the index of the host's link
        self.dark = {}  # machine -> networks that its death has silenced
        self.networks = [name for name in NETWORKS if name != "heartbeat2" or heartbeats > 1]
        self.names = [f"server{i + 1}" for i in range(servers)]
        super().__init__(servers, prefix=prefix, directory=directory)

    # ---- what is written down ----

    def save(self, **started):
        daemons = {daemon.name: daemon.process for daemon in [self.manager, *self.agents]}
        daemons.update(started)
        state = {"boot_id": boot_id(), "number": self.number, "link": self.link, "ready": self.ready, "servers": len(self.names),
                 "networks": self.networks, "pool": self.wants_pool, "dark": self.dark,
                 "keepers": {name: identify(space.keeper) for name, space in self.spaces.items()},
                 "daemons": {name: identify(process) for name, process in daemons.items()}}
        path = os.path.join(self.dir, STATE)
        with open(path + ".new", "w") as f:
            json.dump(state, f, indent=1)
            f.flush()
            os.fsync(f.fileno())
        os.rename(path + ".new", path)

    @classmethod
    def load(cls, directory):
        """The Lab of this directory as far as it is there, or None."""
        try:
            with open(os.path.join(directory, STATE)) as f:
                state = json.load(f)
        except FileNotFoundError:
            return None
        here = state["boot_id"] == boot_id()
        lab = cls(state["servers"], 2 if "heartbeat2" in state["networks"] else 1, directory,
                  pool=state.get("pool", False))
        lab.number, lab.link, lab.dark = state["number"], state.get("link"), state["dark"]
        lab.manager.host, lab.manager.port = lab.manager.place()
        lab.spaces = {name: Space(name, find_again(written) if here else None) for name, written in state["keepers"].items()}
        lab.agents = [Agent(lab, name) for name in lab.names]
        for daemon in [lab.manager, *lab.agents]:
            daemon.process = find_again(state["daemons"].get(daemon.name)) if here else None
        lab.ready = state["ready"] and all(space.alive() for space in lab.spaces.values())
        return lab

    def connect(self):
        """Signs in; for a Lab that was loaded."""
        self.api = self.manager.client().sign_in("admin", self.manager.password())
        return self

    # ---- addresses ----

    def subnet(self, network):
        return f"10.{213 + self.networks.index(network)}.{self.number or 0}"

    def address(self, network, name):
        return f"{self.subnet(network)}.{number_of(name)}"

    def interface(self, network):
        return NETWORKS[network]

    def host_link(self):
        return f"tarnlab{self.number}"

    def host_link_is_there(self):
        try:
            return self.link is not None and socket.if_nametoindex(self.host_link()) == self.link
        except OSError:
            return False

    def take_number(self):
        """The host's end of the cable into the management network: its name is the claim to a number."""
        taken = set()
        for link in json.loads(run(["ip", "-4", "-json", "addr", "show"])):
            for a in link["addr_info"]:
                taken.add(ipaddress.ip_network(f"{a['local']}/{a['prefixlen']}", strict=False))
        for route in json.loads(run(["ip", "-4", "-json", "route", "show", "table", "all"])):
            if route.get("dst", "default") != "default":
                taken.add(ipaddress.ip_network(route["dst"], strict=False))
        for number in range(256):
            wanted = ipaddress.ip_network(f"10.213.{number}.0/24")
            if any(wanted.overlaps(network) for network in taken):
                continue
            made = subprocess.run(["ip", "link", "add", f"tarnlab{number}", "type", "veth", "peer", "name", "host",
                                   "netns", str(self.spaces[FABRIC].keeper.pid)], capture_output=True, text=True)
            if made.returncode == 0:
                self.number, self.link = number, socket.if_nametoindex(f"tarnlab{number}")
                return
            if "File exists" not in made.stderr:
                raise LabError(f"cannot make a veth pair: {made.stderr.strip()}. This needs CAP_NET_ADMIN and a kernel with veth")
        raise LabError("no free network among 10.213.0.0 to 10.213.255.0")

    # ---- start ----

    def make_spaces(self):
        for name in [FABRIC, MANAGER, *self.names]:
            self.spaces[name] = Space(name)
            self.spaces[name].make(self.save)

    def make_networks(self):
        self.take_number()
        self.save()
        for network in self.networks:
            ethernet = self.ethernet(network)
            ethernet.make()
            for name in self.names if network != "management" else [MANAGER, *self.names]:
                ethernet.plug(number_of(name), self.spaces[name], self.address(network, name))
        self.spaces[FABRIC].ip([f"link set host master {NETWORKS['management']} up"])
        run(["ip", "addr", "add", f"{self.subnet('management')}.{HOST_NUMBER}/24", "dev", self.host_link()])
        run(["ip", "link", "set", self.host_link(), "up"])

    def start(self):
        if os.geteuid() != 0:
            raise LabError("a lab makes network namespaces, which takes root")
        os.makedirs(self.dir, mode=0o700, exist_ok=True)
        self.make_spaces()
        self.make_networks()
        self.manager.host, self.manager.port = self.manager.place()
        self.manager.start()
        self.connect()
        for name in self.names:
            self.add_agent(name, start=False)
        for agent in self.agents:
            agent.start()
        for agent in self.agents:
            self.wait_online(agent.name)
        self.furnish()
        self.ready = True
        self.save()
        return self

    def furnish(self):
        if self.wants_pool:
            self.make_pool()
        else:
            self.repository()

    def give_roles(self, name):
        """Every address of a server gets the role that its network has its name from."""
        roles = {"management": ["management"], "heartbeat": ["heartbeat"], "heartbeat2": ["heartbeat"],
                 "migration": ["migration"], "storage": ["storage"]}
        self.api.patch(f"/servers/{name}", {"addresses": [{"address": self.address(network, name), "roles": roles[network]}
                                                          for network in self.networks]})

    def whole(self):
        """Every server is in the cluster, armed, and sees all the others."""
        servers = [self.api.get(f"/servers/{name}") for name in self.names]
        return all(s["state"] == "online" and s.get("cluster", {}).get("armed") and s["cluster"]["quorate"] and
                   len(s["cluster"]["members"]) == len(servers) and not s["cluster"]["gone"] for s in servers)

    def make_pool(self):
        """A pool of all servers, clustered if there are enough for a quorum to mean something, and a repository that all have."""
        clustered = len(self.names) > 2
        self.api.post("/pools", {"name": "pool", "clustered": clustered})
        for name in self.names:
            self.give_roles(name)
            self.api.do("/pools/pool/add", {"server": name})
        if clustered:
            cluster.wait_until(self.whole, 60, "the cluster whole")
        self.api.do("/repositories", {"name": "shared", "pool": "pool", "path": os.path.join(self.dir, "shared")})

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            with contextlib.suppress(AssertionError):
                self.close()
            raise

    def __exit__(self, *_):
        self.close()

    # ---- networks ----

    def ethernet(self, network):
        return Ethernet(NETWORKS[network], self.spaces[FABRIC])

    def networks_of(self, name, network=None):
        has = ["management"] if name == MANAGER else self.networks
        if network and network not in has:
            raise LabError(f"{name} has no network \"{network}\"; it has {', '.join(has)}")
        return [network] if network else has

    def cut(self, name, network=None):
        """Nothing comes through any more, to or from this machine, on one network or all; links stay up."""
        for each in self.networks_of(name, network):
            self.ethernet(each).cut(number_of(name))

    def heal(self, name=None, network=None):
        for who in [name] if name else [MANAGER, *self.names]:
            for each in self.networks_of(who, network if name or who != MANAGER else None):
                self.ethernet(each).heal([number_of(who)])

    def split(self, groups, network=None):
        """Parts the machines: groups are lists of names, those of none stay with the first."""
        for each in [network] if network else self.networks:
            here = set(self.names + [MANAGER] if each == "management" else self.names)
            rest = here - {name for group in groups for name in group}
            islands = [[name for name in group if name in here] for group in groups]
            islands[0] += sorted(rest)
            self.ethernet(each).split([[number_of(name) for name in island] for island in islands])

    def cuts(self):
        """{machine: {network: where it is}} of what is not as it was made; "cut" or an island's name."""
        links, found = self.spaces[FABRIC].links(), {}
        for name in [MANAGER, *self.names]:
            for network in self.networks_of(name):
                master = self.ethernet(network).master(number_of(name), links)
                if master != NETWORKS[network]:
                    found.setdefault(name, {})[network] = master or "cut"
        return found

    # ---- machines ----

    def daemon(self, name):
        for daemon in [self.manager, *self.agents]:
            if daemon.name == name:
                return daemon
        raise LabError(f"there is no machine \"{name}\"; there are {', '.join([MANAGER, *self.names])}")

    def kill(self, name):
        """As if its power went: everything that runs there, at once, and no last packet that says so."""
        links = self.spaces[FABRIC].links()
        for network in self.networks_of(name):
            if self.ethernet(network).master(number_of(name), links):
                self.dark.setdefault(name, []).append(network)
                self.cut(name, network)
        self.spaces[name].kill_all()
        daemon = self.daemon(name)
        if daemon.process is not None:
            daemon.process.wait(10)
        self.run(name, ["rm", "-rf", "/run/tarn"])  # what was in memory is gone too

    def stop(self, name):
        """Its daemon ends as on SIGTERM; a server's guests go on."""
        return self.daemon(name).stop()

    def power_on(self, name):
        daemon = self.daemon(name)
        if daemon.running():
            raise LabError(f"{name} runs already")
        for network in self.dark.pop(name, []):
            self.heal(name, network)
        daemon.start()

    def hang(self, name):
        os.kill(self.daemon(name).pid, signal.SIGSTOP)

    def resume(self, name):
        os.kill(self.daemon(name).pid, signal.SIGCONT)

    def run(self, name, args, timeout=60):
        """A command in a machine's namespaces, to its end."""
        return subprocess.run(self.spaces[name].enter(args), capture_output=True, text=True, timeout=timeout)

    def packets(self, name, network):
        """(received, sent) bytes of a machine's interface."""
        out = []
        for way in ("rx", "tx"):
            text = self.run(name, ["cat", f"/sys/class/net/{NETWORKS[network]}/statistics/{way}_bytes"]).stdout
            out.append(int(text))
        return tuple(out)

    # ---- the end ----

    def stop_daemons(self, problems):
        running = [daemon for daemon in [*self.agents, self.manager] if daemon.running()]
        for daemon in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(daemon.pid, signal.SIGCONT)
            daemon.process.terminate()
        for daemon in running:
            try:
                status = daemon.stop()
                if status not in (0, -signal.SIGTERM):
                    problems.append(f"{daemon.name} ended with {status}; {daemon.tail()}")
            except AssertionError as error:
                problems.append(str(error))

    def end_spaces(self):
        for name, space in sorted(self.spaces.items(), key=lambda item: item[0] == FABRIC):
            space.end()
        deadline = time.monotonic() + 10
        while cluster.processes(self.dir) and time.monotonic() < deadline:
            for pid in cluster.processes(self.dir):
                cluster.kill_pid(pid)
            time.sleep(0.05)
        # It goes with the fabric, but not at once. One of that name may be another lab's by then, and is not to be touched.
        while self.host_link_is_there() and time.monotonic() < deadline:
            time.sleep(0.02)

    def close(self):
        problems = []
        if self.api:
            self.api.close()
        self.stop_daemons(problems)
        self.end_spaces()
        if self.host_link_is_there():
            problems.append(f"the network interface {self.host_link()} is left over")
        problems += self.sanitizer_reports()
        if self.keep or (problems and os.environ.get("TARN_KEEP_FAILED")):
            print(f"kept: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        if problems:
            raise AssertionError("\n".join(problems))


class LabCase(cluster.ClusterCase):
    """Tests that share one lab. A class may set SERVERS, HEARTBEATS, and POOL for a clustered pool with a shared repository;
    PREFIX is how its directory's name begins."""

    SERVERS, HEARTBEATS, POOL, PREFIX = 3, 1, False, "tarn-l-"

    @classmethod
    def setUpClass(cls):
        cls.lab = cls.cluster = Lab(cls.SERVERS, cls.HEARTBEATS, prefix=cls.PREFIX, pool=cls.POOL)
        cls.lab.__enter__()
        cls.api = cls.lab.api
        try:
            if cls.TEMPLATE:
                cls.lab.tiny_template()
            cls.prepare()
        except BaseException:
            cls.lab.close()
            raise


__all__ = ["Lab", "LabCase", "LabError", "Found", "NETWORKS", "MANAGER"]
