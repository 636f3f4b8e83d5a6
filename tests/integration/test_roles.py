# SPDX-License-Identifier: Apache-2.0
"""Every operation of the description against every role: nobody, viewer, operator, administrator."""

import os
import re

import yaml

import cluster
import rest

ABSENT = "00000000-0000-4000-8000-000000000000"


def description():
    with open(os.path.join(cluster.ROOT, "api/tarn.yaml"), encoding="utf-8") as f:
        return yaml.safe_load(f)


def allowed(document, role, permission):
    if permission == "none":
        return True
    if role is None:
        return False
    if permission == "self":
        return True
    subject, action = permission.split(".")
    return any(re.fullmatch(p.replace(".", r"\.").replace("*", r".*"), f"{subject}.{action}")
               for p in document["x-roles"][role])


class Roles(cluster.ClusterCase):
    TEMPLATE = False

    @classmethod
    def prepare(cls):
        cls.document = description()
        cls.clients = {None: cls.cluster.manager.client(), "administrator": cls.api}
        for role in ("operator", "viewer"):
            cls.api.post("/users", {"name": "a-" + role, "password": "longenough", "role": role})
            cls.clients[role] = cls.cluster.manager.client().sign_in("a-" + role, "longenough")

    def request(self, client, method, path, operation):
        path = re.sub(r"\{\w+\}", ABSENT, path)
        if operation.get("x-websocket"):
            try:
                client.socket(path).close()
                return 101
            except rest.ws.Refused as refused:
                return refused.status
        body = {"no-such-field": 1} if "x-body" in operation else None
        return client.raw(method.upper(), path, body).status

    def test_every_operation_with_every_role(self):
        tested = 0
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                name = operation["operationId"]
                if name == "session_delete":
                    continue
                for role, client in self.clients.items():
                    with self.subTest(f"{name} as {role or 'nobody'}"):
                        status = self.request(client, method, path, operation)
                        # "self" is one's own: these requests are about somebody else's user.
                        own = name != "user_change" or role in (None, "administrator")
                        if own and allowed(self.document, role, operation["x-permission"]):
                            self.assertNotIn(status, (401, 403))
                            self.assertLess(status, 500)
                        else:
                            self.assertEqual(status, 401 if role is None else 403)
                        tested += 1
        self.assertGreater(tested, 150)

    def test_an_unknown_secret_is_nobody(self):
        stranger = self.api.copy("tarn-" + "0" * 40)
        answer = stranger.raw("GET", "/vms")
        self.assertEqual((answer.status, answer.json["code"]), (401, "unauthenticated"))
        # Even where nobody need sign in.
        self.assertIn(stranger.raw("GET", "/about").status, (200, 401))

    def test_a_user_sees_and_revokes_only_their_own_tokens(self):
        viewer, operator = self.clients["viewer"], self.clients["operator"]
        made = operator.post("/tokens", {"name": "mine"})
        listed = viewer.raw("GET", "/tokens")
        if listed.status == 200:
            self.assertNotIn("mine", [t["name"] for t in listed.json["items"]])
        self.assertIn(viewer.raw("DELETE", "/tokens/" + made["token"]["id"]).status, (403, 404))
        operator.delete("/tokens/" + made["token"]["id"])

    def test_a_path_on_the_server_is_for_administrators(self):
        answer = self.clients["operator"].raw("POST", "/templates", {"name": "sneaky", "image": {"path": "/etc/shadow"}})
        self.assertEqual((answer.status, answer.json["code"]), (403, "forbidden"))

    def test_session_delete_is_for_whom_it_belongs(self):
        client = self.cluster.manager.client().sign_in("a-viewer", "longenough")
        client.delete("/sessions/current")
        self.assertEqual(client.raw("GET", "/vms").status, 401)
        self.assertEqual(self.clients["viewer"].raw("GET", "/vms").status, 200)


