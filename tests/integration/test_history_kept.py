# SPDX-License-Identifier: Apache-2.0
"""Events and jobs are kept for --history-days, then removed a few at a time."""

import json
import os
import sqlite3

import cluster


class Kept(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def keys(self, pattern):
        db = sqlite3.connect(f"file:{self.cluster.manager.state}/tarn.db?mode=ro", uri=True, timeout=5)
        try:
            return [row[0] for row in db.execute("SELECT key FROM head WHERE key LIKE ?", (pattern,))]
        finally:
            db.close()

    def age(self, count):
        """Copies of an event, from 2024."""
        db = sqlite3.connect(os.path.join(self.cluster.manager.state, "tarn.db"), isolation_level=None)
        value = json.loads(db.execute("SELECT value FROM head JOIN log USING (rev) WHERE head.key LIKE 'event/%'").fetchone()[0])
        revision = db.execute("SELECT max(rev) FROM log").fetchone()[0]
        for number in range(count):
            revision += 1
            value["id"] = f"018f0000-{number:04x}-7000-8000-000000000000"
            db.execute("INSERT INTO log(rev, key, value, deleted) VALUES (?, ?, ?, 0)", (revision, "event/" + value["id"], json.dumps(value)))
            db.execute("INSERT INTO head(key, rev) VALUES (?, ?)", ("event/" + value["id"], revision))
        db.close()

    def test_old_history_goes(self):
        self.api.post("/users", {"name": "somebody", "password": "longenough"})
        manager = self.cluster.manager
        manager.stop()
        self.api.close()
        self.age(120)
        young = len(self.keys("event/%")) - 120
        self.assertGreater(young, 0)
        manager.start(more=["--history-days", "0"])
        self.assertEqual(len(self.keys("event/018f%")), 120)
        manager.stop()
        self.api.close()
        manager.start()
        cluster.wait_until(lambda: not self.keys("event/018f%"), 30)
        self.assertGreaterEqual(len(self.keys("event/%")), young)
        self.assertTrue(all(not event["id"].startswith("018f") for event in self.api.list("/events")))
        manager.stop()
        self.api.close()
        manager.start(more=["--history-days", "36500"])
