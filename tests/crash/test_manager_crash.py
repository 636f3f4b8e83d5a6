# SPDX-License-Identifier: Apache-2.0
"""The manager is killed after the 1st, 2nd, … Nth commit of each kind of job."""

import unittest

import crash
import scenarios


class ManagerCrash(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bench = crash.Bench()
        cls.addClassCleanup(cls.bench.close)
        cls.bench.start()

    @classmethod
    def tearDownClass(cls):
        crash.summary(cls.bench, "manager after each commit")


def add(kind):
    def test(self):
        self.assertTrue(self.bench.manager_points(kind), "no point was reached")
    setattr(ManagerCrash, "test_" + kind.replace(".", "_"), test)


for name in scenarios.SCENARIOS:
    add(name)
