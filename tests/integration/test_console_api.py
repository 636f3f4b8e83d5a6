# SPDX-License-Identifier: Apache-2.0
"""What the web console asks of the manager beside lists: search.

Named here: search."""

import cluster


class Search(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def find(self, q, **query):
        return [item["name"] for item in self.api.get("/search", q=q, **query)["items"]]

    def test_search(self):
        for name in ("finder", "pathfinder", "find-me"):
            self.api.post("/users", {"name": name, "password": "longenough", "full_name": f"Mx {name} Ünïcode & <b>"})
        self.assertEqual(self.find("FIND"), ["find-me", "finder", "pathfinder"])
        self.assertEqual(self.find("finder", limit=1), ["finder"])
        self.assertEqual(self.api.get("/search", q="find", limit=1)["totals"], [{"kind": "user", "total": 3}])
        item = self.api.get("/search", q="Ünïcode & <B>")["items"][0]
        self.assertEqual((item["kind"], item["detail"]), ("user", "Mx find-me Ünïcode & <b>"))
        user = self.api.get("/users/finder")
        self.assertEqual(self.find(user["id"][:13])[0], "finder" if len(self.find(user["id"][:13])) == 1 else "find-me")
        self.api.patch("/users/finder", {"full_name": "Renamed"})
        self.assertEqual(self.find("renamed"), ["finder"])
        self.api.delete("/users/finder")
        self.assertEqual(self.find("renamed"), [])

    def test_what_is_refused(self):
        self.assertEqual(self.refused(400, "invalid", "GET", "/search")["field"], "q")
        self.assertEqual(self.refused(400, "invalid", "GET", "/search?q=a&limit=0")["field"], "limit")
        self.assertEqual(self.refused(400, "invalid", "GET", "/search?q=a&limit=x")["field"], "limit")
        self.refused(400, "invalid", "GET", "/search?q=a&depth=1")
        self.assertEqual(self.api.copy("x").raw("GET", "/search?q=a").status, 401)

    def test_cli(self):
        done = self.cluster.cli("search", "admin", "--limit", "3")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"user\s+admin")
        self.assertEqual(self.cluster.cli("search", "admin", "--limit", "0").returncode, 2)
