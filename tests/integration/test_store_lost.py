# SPDX-License-Identifier: Apache-2.0
"""A manager whose database has gone does not begin anew over what is left of it; one that was never started does."""

import os
import shutil
import unittest

import cluster
import rest


class Lost(unittest.TestCase):
    def setUp(self):
        self.cluster = cluster.Cluster(0)
        self.addCleanup(self.cluster.close)
        self.manager = self.cluster.manager
        self.cluster.start()
        self.db = os.path.join(self.manager.state, "tarn.db")

    def content(self):
        """Of every file that holds something of value."""
        found = {}
        for name in sorted(os.listdir(self.manager.state)):
            if not name.endswith((".lock", "-shm")):
                with open(os.path.join(self.manager.state, name), "rb") as f:
                    found[name] = f.read()
        return found

    def refused(self, *words):
        before = self.content()
        self.manager.start(wait=False)
        self.assertEqual(self.manager.process.wait(30), 1)
        tail = self.manager.tail(600)
        for word in words + ("backup",):
            self.assertIn(word, tail)
        self.assertEqual(self.content(), before)

    def test_cut_while_it_runs_and_killed(self):
        self.cluster.api.post("/users", {"name": "before", "password": "longenough"})
        os.truncate(self.db, 0)
        with self.assertRaises(rest.ApiError):
            self.cluster.api.post("/users", {"name": "after", "password": "longenough"})
        self.assertIn("was cut to nothing", self.manager.tail())
        self.cluster.api.get("/users/before")
        self.manager.kill()
        self.assertGreater(os.path.getsize(self.db + "-wal"), 0)
        self.refused("is empty")

    def test_cut_or_gone_while_it_is_stopped(self):
        self.manager.stop()
        os.truncate(self.db, 0)
        self.refused("is empty", "ca.key")
        os.unlink(self.db)
        self.refused("is gone", "ca.key")
        os.unlink(os.path.join(self.manager.state, "ca.key"))
        self.refused("is gone", "admin-password")
        self.assertFalse(os.path.exists(self.db))
        # What the message says works: all of it away is a first start.
        shutil.rmtree(self.manager.state)
        self.manager.start()
        self.assertTrue(self.manager.password())

    def test_an_interrupted_first_start(self):
        self.manager.stop()
        shutil.rmtree(self.manager.state)
        os.mkdir(self.manager.state, 0o700)
        for name in ("tarn.db", "tarn.db.lock"):  # as far as it came: no authority yet
            with open(os.path.join(self.manager.state, name), "w"):
                pass
        self.manager.start()
        self.manager.client().sign_in("admin", self.manager.password())
        # Killed at the very first commit: the password is there, the user perhaps not.
        self.manager.stop()
        shutil.rmtree(self.manager.state)
        self.manager.start({"TARN_TEST": "1", "TARN_CRASH_AFTER_COMMITS": "1"}, wait=False)
        self.manager.process.wait(30)
        self.manager.start()
        self.manager.client().sign_in("admin", self.manager.password())
