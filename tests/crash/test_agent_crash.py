# SPDX-License-Identifier: Apache-2.0
"""The agent is killed after each of its commits and effects during each kind of job; once the job simply goes on when it is
back, once it has been aborted meanwhile."""

import unittest

import crash
import scenarios


class AgentCrash(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bench = crash.Bench()
        cls.addClassCleanup(cls.bench.close)
        cls.bench.start()

    @classmethod
    def tearDownClass(cls):
        crash.summary(cls.bench, "agent after each commit and effect, and with abort")


def add(kind, what, abort):
    def test(self):
        self.assertTrue(self.bench.agent_points(kind, what, abort), "no point was reached")
    setattr(AgentCrash, f"test_{kind.replace('.', '_')}_{what.lower()}{'_abort' if abort else ''}", test)


# What the manager does alone here, or has another server do than the one that is killed (and that one's part is in core_test).
ELSEWHERE = ("pool.add", "pool.remove", "server.fence", "server.maintenance")

for name in scenarios.SCENARIOS:
    if name in ELSEWHERE:
        continue
    add(name, "COMMITS", False)
    if name == "vm.policy":  # the agent only records it: there is no effect to crash after
        continue
    add(name, "EFFECTS", False)
    add(name, "EFFECTS", True)
