# SPDX-License-Identifier: Apache-2.0
"""What needs no guest: about, users, tokens, sessions, servers, repositories, jobs, events; lists with filter, sort, paging
and fields; If-Match.

Named here: about, session_create, session_show, session_delete, user_list, user_create, user_show, user_change, user_delete,
token_list, token_create, token_delete, server_token_create, server_join, server_list, server_show, server_change, server_delete,
server_stats, repository_list, repository_create, repository_show, repository_change, repository_delete, upload_list,
upload_create, upload_show, upload_delete, upload_data, job_list, job_show, job_abort, event_list, stream."""

import time

import cluster
import rest


class Operations(cluster.ClusterCase):
    def test_about(self):
        about = self.cluster.manager.client().get("/about")
        self.assertEqual(about["product"].lower(), "tarn")
        self.assertFalse(about["read_only"])
        self.assertGreater(about["revision"], 0)

    def test_openapi(self):
        answer = self.cluster.manager.client().raw("GET", "/openapi.json")
        self.assertEqual(answer.status, 200)
        document = answer.json
        self.assertTrue(document["openapi"].startswith("3.1"))
        self.assertIn("/vms/{vm}/start", document["paths"])

    def test_metrics(self):
        answer = self.api.raw("GET", "///metrics"[1:])
        self.assertEqual(answer.status, 200, answer.data)
        text = answer.data.decode()
        self.assertIn("# TYPE tarn_", text)
        self.assertRegex(text, r'(?m)^tarn_\w+(\{[^}]*\})? [0-9.e+]+$')

    def test_sessions(self):
        c = self.cluster
        with self.assertRaises(rest.ApiError) as refused:
            c.manager.client().sign_in("admin", "wrong password")
        self.assertEqual((refused.exception.status, refused.exception.code), (401, "unauthenticated"))
        with self.assertRaises(rest.ApiError) as unknown:
            c.manager.client().sign_in("nobody-at-all", "wrong password")
        self.assertEqual(unknown.exception.message, refused.exception.message, "whether a user exists is not told")
        session = c.manager.client().sign_in("admin", c.manager.password())
        shown = session.get("/sessions/current")
        self.assertEqual((shown["user"], shown["role"]), ("admin", "administrator"))
        self.assertFalse(shown.get("secret"))
        session.delete("/sessions/current")
        self.assertEqual(session.raw("GET", "/sessions/current").status, 401)

    def test_users(self):
        user = self.api.post("/users", {"name": "ada", "password": "correct horse", "role": "operator", "full_name": "Ada L."})
        self.assertNotIn("password", user)
        self.assertNotIn("password_hash", user)
        ada = self.cluster.manager.client().sign_in("ada", "correct horse")
        self.assertEqual(ada.get("/sessions/current")["role"], "operator")
        self.refused(409, "exists", "POST", "/users", {"name": "ada", "password": "correct horse"})
        self.assertEqual(self.api.patch("/users/ada", {"role": "viewer"})["role"], "viewer")
        self.assertEqual(ada.get("/sessions/current")["role"], "viewer", "a change of role counts at once")
        self.api.patch("/users/ada", {"password": "another horse"})
        self.cluster.manager.client().sign_in("ada", "another horse")
        with self.assertRaises(rest.ApiError):
            self.cluster.manager.client().sign_in("ada", "correct horse")
        self.assertIn("ada", [u["name"] for u in self.api.list("/users")])
        self.api.delete("/users/ada")
        self.assertEqual(ada.raw("GET", "/sessions/current").status, 401, "sessions end with their user")
        self.refused(404, "not-found", "GET", "/users/ada")

    def test_the_last_administrator_stays(self):
        self.refused(409, "conflict", "DELETE", "/users/admin")
        self.refused(409, "conflict", "PATCH", "/users/admin", {"role": "viewer"})

    def test_tokens(self):
        made = self.api.post("/tokens", {"name": "script", "lifetime": 3600})
        script = self.api.copy(made["secret"])
        self.assertEqual(script.get("/sessions/current")["user"], "admin")
        self.assertIn("script", [t["name"] for t in self.api.list("/tokens")])
        self.assertNotIn(made["secret"], self.api.raw("GET", "/tokens").data.decode())
        self.api.delete("/tokens/" + made["token"]["id"])
        self.assertEqual(script.raw("GET", "/sessions/current").status, 401)

    def test_a_token_expires(self):
        made = self.api.post("/tokens", {"name": "short", "lifetime": 1})
        short = self.api.copy(made["secret"])
        self.assertEqual(short.raw("GET", "/sessions/current").status, 200)
        time.sleep(1.3)
        answer = short.raw("GET", "/sessions/current")
        self.assertEqual((answer.status, answer.json["code"]), (401, "unauthenticated"))

    def test_servers(self):
        c = self.cluster
        server = self.api.get("/servers/" + c.agent.name)
        self.assertEqual(server["state"], "online")
        self.assertGreater(server["hardware"]["memory"], 1 << 30)
        driver = server["hypervisors"][0]
        self.assertIn(driver["accelerator"], ("kvm", "tcg"))
        self.assertTrue(driver["reason"])
        self.assertEqual(len(self.api.list("/servers")), 1)
        changed = self.api.patch("/servers/" + c.agent.name, {"description": "under the desk"})
        self.assertEqual(changed["description"], "under the desk")
        self.refused(409, "conflict", "DELETE", "/servers/" + c.agent.name)
        cluster.wait_until(lambda: self.api.raw("GET", f"/servers/{c.agent.name}/stats").status == 200, 10, "statistics")

    def test_a_second_server_joins_and_leaves(self):
        c = self.cluster
        second = c.add_agent("second")
        self.assertEqual(len(self.api.list("/servers", filter="state=online")), 2)
        second.stop()
        cluster.wait_until(lambda: not c.online("second"), 20, "offline")
        self.api.delete("/servers/second")
        self.refused(404, "not-found", "GET", "/servers/second")
        second.start()
        time.sleep(2)
        self.assertFalse(c.online("second"))
        self.assertIn("join", second.tail().lower(), "the agent says that it must join again")
        second.kill()
        c.agents.remove(second)

    def test_repositories(self):
        c = self.cluster
        path = c.dir + "/another"
        job = self.api.do("/repositories", {"name": "another", "server": c.agent.name, "path": path})
        self.assertEqual(job["object"]["name"], "another")
        repository = self.api.get("/repositories/another")
        self.assertEqual(repository["state"], "ready")
        self.assertGreater(repository["capacity"], repository["free"] - 1)
        self.assertEqual(self.api.patch("/repositories/another", {"description": "x"})["description"], "x")
        self.assertEqual(len(self.api.list("/repositories")), 2)
        self.refused(409, "exists", "POST", "/repositories", {"name": "another", "server": c.agent.name, "path": path + "2"})
        with self.assertRaises((rest.JobFailed, rest.ApiError)):
            self.api.do("/repositories", {"name": "same-path", "server": c.agent.name, "path": path})
        self.refused(404, "not-found", "GET", "/repositories/same-path")
        self.api.remove("/repositories/another")
        self.refused(404, "not-found", "GET", "/repositories/another")
        error = self.refused(409, "in-use", "DELETE", "/repositories/local")
        self.assertIn("tiny", error["message"])

    def test_jobs_and_events(self):
        self.cluster.vm("logged", start=False)
        job = next(j for j in self.api.list("/jobs", limit=10) if j["kind"] == "vm.create")
        shown = self.api.get("/jobs/" + job["id"])
        self.assertEqual(shown["state"], "done")
        self.assertEqual(shown["progress"], 100)
        self.assertTrue(shown["steps"])
        self.assertTrue(all(step["state"] in ("done", "skipped") for step in shown["steps"]), shown["steps"])
        self.assertEqual(shown["actor"], "admin")
        self.assertTrue(shown["changes"])
        for secret in ("args", "vars", "current"):
            self.assertNotIn(secret, shown)
        self.refused(409, "conflict", "POST", f"/jobs/{job['id']}/abort")
        self.api.remove("/vms/logged")
        kinds = [e["kind"] for e in self.api.get("/events", limit=50)["items"] if e["object"].get("name") == "logged"]
        self.assertTrue(kinds)
        times = [e["time"] for e in self.api.get("/events", limit=50)["items"]]
        self.assertEqual(times, sorted(times, reverse=True), "newest first")

    def test_history_is_paged_through_the_store(self):
        for number in range(12):
            self.api.post("/users", {"name": f"paged{number}", "password": "longenough"})
            self.api.delete(f"/users/paged{number}")
        seen, after = [], None
        while True:
            page = self.api.get("/events", limit=7, **({"after": after} if after else {}))
            self.assertLessEqual(len(page["items"]), 7)
            seen += [e["id"] for e in page["items"]]
            after = page.get("next")
            if not after:
                break
        self.assertEqual(len(seen), len(set(seen)))
        self.assertGreaterEqual(len(seen), 24)


class Lists(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    @classmethod
    def prepare(cls):
        for number in range(25):
            cls.api.post("/users", {"name": f"user{number:02}", "password": "longenough", "full_name": f"Number {number}",
                                    "role": "operator" if number % 2 else "viewer"})

    def names(self, **query):
        return [u["name"] for u in self.api.get("/users", **query)["items"]]

    def test_sort(self):
        names = self.names()
        self.assertEqual(names, sorted(names), "by name unless asked otherwise")
        self.assertEqual(self.names(sort="-name"), sorted(names, reverse=True))
        roles = [u["role"] for u in self.api.get("/users", sort="role")["items"]]
        self.assertEqual(roles[0], sorted(set(roles), key=["administrator", "operator", "viewer"].index)[0])
        error = self.refused(400, "invalid", "GET", "/users?sort=nonsense")
        self.assertIn("nonsense", error["message"])

    def test_filter(self):
        self.assertEqual(self.names(filter="name=user07"), ["user07"])
        self.assertEqual(len(self.names(filter="role=operator")), 12)
        self.assertEqual(self.names(filter="full_name~NUMBER 2,role=viewer"), ["user02", "user20", "user22", "user24"])
        self.assertNotIn("user07", self.names(filter="name!=user07"))
        self.assertEqual(self.names(filter="name=nobody"), [])
        self.refused(400, "invalid", "GET", "/users?filter=nonsense%3D1")
        self.refused(400, "invalid", "GET", "/users?filter=name")
        self.refused(400, "invalid", "GET", "/users?filter=password_hash~a")

    def test_pages(self):
        seen, after, pages = [], None, 0
        while True:
            page = self.api.get("/users", limit=10, **({"after": after} if after else {}))
            seen += [u["name"] for u in page["items"]]
            pages += 1
            after = page.get("next")
            if not after:
                break
        self.assertEqual((pages, len(seen)), (3, 26))
        self.assertEqual(seen, sorted(seen))
        for bad in ("0", "1001", "-1", "many"):
            self.refused(400, "invalid", "GET", f"/users?limit={bad}")
        self.assertIn(self.api.raw("GET", "/users?after=not-a-cursor").status, (200, 400))

    def test_pages_in_descending_order_of_another_field(self):
        seen, after = [], None
        while True:
            page = self.api.get("/users", limit=4, sort="-full_name", **({"after": after} if after else {}))
            seen += [u["full_name"] for u in page["items"]]
            after = page.get("next")
            if not after:
                break
        self.assertEqual(len(seen), 26)
        self.assertEqual(seen, sorted(seen, reverse=True))

    def test_fields(self):
        item = self.api.get("/users", fields="name,role", limit=1)["items"][0]
        self.assertEqual(set(item), {"name", "role"})
        self.refused(400, "invalid", "GET", "/users?fields=name,nonsense")
        self.refused(400, "invalid", "GET", "/users?colour=red")

    def test_if_match(self):
        answer = self.api.raw("GET", "/users/user00")
        tag = answer.etag
        self.assertTrue(tag)
        changed = self.api.patch("/users/user00", {"full_name": "first"}, etag=tag)
        self.assertEqual(changed["full_name"], "first")
        self.refused(412, "stale", "PATCH", "/users/user00", {"full_name": "second"}, {"If-Match": tag})
        self.assertEqual(self.api.get("/users/user00")["full_name"], "first")
        fresh = self.api.raw("GET", "/users/user00")
        self.assertNotEqual(fresh.etag, tag)
        self.assertEqual(self.api.patch("/users/user00", {"full_name": "third"}, etag=fresh.etag)["full_name"], "third")
        self.refused(412, "stale", "DELETE", "/users/user00", headers={"If-Match": tag})
