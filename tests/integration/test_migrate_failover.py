# SPDX-License-Identifier: Apache-2.0
"""Servers of a clustered pool that are lost while a highly available guest moves from or to them, with real corosync and real QEMU: in the
end it runs once, and what it has written to its disk tells that there never were two of it.

Named here: vm_migrate."""

import time

import cluster
import lab
import rest
import writers

SLOW = 120  # of a machine under load
BANDWIDTH = 6 << 20  # bytes/s: a move takes some seconds


class Moving(lab.LabCase):
    """A guest that writes a counter with its boot's id moves between the servers of a pool, of which one is lost meanwhile."""

    SERVERS, TEMPLATE, REPOSITORY = 3, False, False

    @classmethod
    def prepare(cls):
        l = cls.lab
        cls.times = []
        cls.api.post("/pools", {"name": "p", "clustered": True, "migration": {"bandwidth": BANDWIDTH}})
        for name in l.names:
            l.give_roles(name)
            cls.api.do("/pools/p/add", {"server": name})
        cluster.wait_until(l.whole, SLOW, "the cluster whole")
        cls.api.do("/repositories", {"name": "shared", "pool": "p", "path": l.dir + "/shared"})
        l.tiny_template(repository="shared", cpus=1, memory=96 << 20)
        l.vm("one", start=False, pool="p", server=l.names[0], repository="shared", disks=[{"size": 16 << 20}],
             cloud_init={"user_data": writers.WRITER}, restart_policy="on-failure", ha={"enabled": True, "priority": 90})
        cls.api.do("/vms/one/start", timeout=SLOW)
        cls.vm = cls.api.get("/vms/one")["id"]

    @classmethod
    def tearDownClass(cls):
        print("\nseconds from the fault until the guest ran as it should, and the job had ended")
        for what, seconds in cls.times:
            print(f"  {what:50} {seconds:5.1f}")
        super().tearDownClass()

    def setUp(self):
        cluster.wait_until(self.lab.whole, SLOW, "the cluster whole")
        self.lab.wait_vm("one", "running", SLOW)
        before = self.records()
        cluster.wait_until(lambda: len(self.records()) > len(before) + 2, SLOW, "records of the guest", pause=0.5)

    def tearDown(self):
        self.lab.heal()
        for name in [lab.MANAGER, *self.lab.names]:
            if not self.lab.daemon(name).running():
                self.lab.power_on(name)
        self.lab.manager.wait_ready()
        self.connect()
        for name in self.lab.names:
            self.lab.wait_online(name)
        self.one_writer()

    def connect(self):
        self.lab.connect()
        type(self).api = self.lab.api

    # ---- what is there ----

    def image(self):
        disk = self.api.get("/vms/one")["disks"][0]["disk"]
        return writers.image_of(f"{self.lab.dir}/shared", disk)

    def records(self):
        return writers.records_of(self.image())

    def one_writer(self):
        """How many boots there are, each with one writer."""
        return writers.check_records("one", self.records())

    def processes(self):
        return [pid for pid in writers.qemus().get(self.vm, []) if not cluster.gone(pid)]

    def where(self):
        key = self.api.get("/vms/one")["server"]
        return next((name for name in self.lab.names if self.api.get(f"/servers/{name}")["id"] == key), None)

    # ---- a move that something happens to ----

    def begin(self):
        """A move whose memory is on its way: (job, source, destination)."""
        source = self.where()
        destination = next(name for name in self.lab.names if name != source)
        job = self.api.post("/vms/one/migrate", {"to": destination})

        def under_way():
            now = self.api.get("/jobs/" + job["id"])
            self.assertNotIn(now["state"], rest.ENDED, cluster.pretty(now))
            return "memory:" in now["message"] and now["progress"] >= 10
        cluster.wait_until(under_way, SLOW, "memory on its way")
        return job, source, destination

    def settles(self, what, job, moment, state):
        """The job ends so, and one guest runs, which goes on writing."""
        ended = self.api.wait_job(job, SLOW)
        self.assertEqual(ended["state"], state, cluster.pretty(ended))

        def stands():
            vm = self.api.get("/vms/one")
            return vm["state"] == "running" and not vm["target"] and len(self.processes()) == 1
        cluster.wait_until(stands, SLOW, "one guest")
        self.times.append((what, time.monotonic() - moment))
        before = self.records()
        cluster.wait_until(lambda: len(self.records()) > len(before) + 2, SLOW, "more records of the guest", pause=0.5)
        self.assertTrue(self.api.get("/vms/one")["guarded"])

    def fault(self, what, act, state="failed"):
        """(where it ran, where it was to go, where it is now, whether it was started anew)"""
        boots = self.one_writer()
        job, source, destination = self.begin()
        moment = time.monotonic()
        act(source, destination)
        self.settles(what, job, moment, state)
        return source, destination, self.where(), self.one_writer() > boots

    # ---- what is lost ----

    def test_1_source_killed(self):
        source, _, now, anew = self.fault("source killed", lambda source, _: self.lab.kill(source))
        self.assertNotEqual(now, source)
        self.assertTrue(anew)

    def test_2_destination_killed(self):
        source, _, now, anew = self.fault("destination killed", lambda _, destination: self.lab.kill(destination))
        self.assertEqual((now, anew), (source, False))

    def test_3_source_cut_off(self):
        source, _, now, anew = self.fault("source cut off", lambda source, _: self.lab.cut(source))
        self.assertNotEqual(now, source)
        self.assertTrue(anew)

    def test_4_destination_cut_off(self):
        source, _, now, anew = self.fault("destination cut off", lambda _, destination: self.lab.cut(destination))
        self.assertEqual((now, anew), (source, False))

    def test_5_migration_network_cut(self):
        source, _, now, anew = self.fault("migration network cut", lambda source, _: self.lab.cut(source, "migration"))
        self.assertEqual((now, anew), (source, False))

    def test_6_manager_killed(self):
        def act(*_):
            self.lab.manager.kill()
            time.sleep(3)
            self.lab.manager.start()
            self.connect()
        source, destination, now, anew = self.fault("manager killed for 3 s", act, "done")
        self.assertEqual((now, anew), (destination, False))

    def test_7_manager_and_source_killed(self):
        def act(source, _):
            self.lab.manager.kill()
            self.lab.kill(source)
            time.sleep(3)
            self.lab.manager.start()
            self.connect()
        source, _, now, anew = self.fault("manager and source killed", act)
        self.assertNotEqual(now, source)
        self.assertTrue(anew)

    def test_8_manager_and_destination_killed(self):
        def act(_, destination):
            self.lab.manager.kill()
            self.lab.kill(destination)
            time.sleep(3)
            self.lab.manager.start()
            self.connect()
        source, _, now, anew = self.fault("manager and destination killed", act)
        self.assertEqual((now, anew), (source, False))
