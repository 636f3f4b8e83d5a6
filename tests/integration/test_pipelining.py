# SPDX-License-Identifier: Apache-2.0
"""Clients that send their next requests before they have the answers to the ones before."""

import json
import os
import socket
import struct
import time

import cluster
import test_manager_http
from test_manager_http import Raw


def processor_time(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Pipelining(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def test_keep_alive_and_pipelining(self):
        with Raw(self) as c:
            for _ in range(3):
                c.send("GET", "/api/v1/about")
                self.assertEqual(c.read()[0], 200)
            request = f"GET /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {c.token}\r\n\r\n".encode()
            change = (b"PATCH /api/v1/users/admin HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + c.token.encode() +
                      b'\r\nContent-Length: 19\r\n\r\n{"full_name":"Ada"}')
            c.s.sendall(request * 4)
            self.assertEqual([c.read()[0] for _ in range(4)], [200] * 4)
            for part in (change, request, request):  # each in a TLS record of its own
                c.s.sendall(part)
            answers = [c.read() for _ in range(3)]
            self.assertEqual([a[0] for a in answers], [200] * 3)
            self.assertIn(b'"full_name":"Ada"', answers[0][2])
            self.assertIn(b'"items"', answers[2][2])
            # A change behind another request is refused, whatever else stands behind it, and nobody is held up.
            c.s.sendall(request + change + request + change)
            self.assertEqual([c.read()[0] for _ in range(2)], [200, 400])
            self.assertTrue(c.closed())
        self.assertEqual(self.api.raw("GET", "/about").status, 200)

    def test_requests_in_one_record_with_the_end_of_a_body(self):
        """They are answered, or the answer to the one with the body says that the connection is closed, as it then is;
        which of the two depends on libwebsockets."""
        for pieces in (1, 2):
            with self.subTest(pieces), Raw(self) as c:
                token = b"Authorization: Bearer " + c.token.encode() + b"\r\n"
                request = b"GET /api/v1/users HTTP/1.1\r\nHost: x\r\n" + token + b"\r\n"
                body = b'{"full_name":"Ada %d"}' % pieces
                change = b"PATCH /api/v1/users/admin HTTP/1.1\r\nHost: x\r\n" + token + b"Content-Length: 21\r\n\r\n" + body
                if pieces == 2:
                    c.s.sendall(change[:-5])
                    time.sleep(0.2)
                    change = change[-5:]
                c.s.sendall(change + request + request)
                status, headers, answer = c.read()
                self.assertEqual((status, json.loads(answer)["full_name"]), (200, f"Ada {pieces}"))
                if headers.get("connection") != "close":
                    self.assertEqual([c.read()[0] for _ in range(2)], [200] * 2)
                else:
                    self.assertTrue(c.closed())

    def test_bodies_behind_another_request(self):
        request = b"GET /api/v1/about HTTP/1.1\r\nHost: x\r\n\r\n"
        for lines in (b"", b"Content-Length: 2\r\n", b"Content-Length: +2\r\n", b"Transfer-Encoding: chunked\r\n",
                      b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"):
            for method in (b"POST", b"PUT", b"GET"):
                if method == b"GET" and not lines:
                    continue
                with self.subTest(method + b" " + lines), Raw(self) as c:
                    c.s.sendall(request + method + b" /api/v1/sessions HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n{}" + request)
                    self.assertEqual(c.read()[0], 200)
                    status, headers, _ = c.read()
                    self.assertEqual((status, headers["connection"]), (400, "close"))
                    self.assertTrue(c.closed())
        with Raw(self) as c:
            c.s.sendall(request + b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" + request)
            self.assertEqual([c.read()[0] for _ in range(3)], [200, 400, 200])

    def test_a_client_that_sends_more_and_does_not_read(self):
        """It costs the manager no time, and when it reads at last it gets every answer whole."""
        size = len(self.api.raw("GET", "/openapi.json").data)
        with Raw(self, receive_buffer=2048) as lazy:
            for _ in range(100):
                lazy.send("GET", "/api/v1/openapi.json")
            time.sleep(1.5)
            before = processor_time(self.cluster.manager.pid)
            time.sleep(2)
            self.assertLess(processor_time(self.cluster.manager.pid) - before, 0.5)
            for _ in range(100):
                status, _, body = lazy.read()
                self.assertEqual((status, len(body)), (200, size))

    def test_requests_behind_one_that_waits(self):
        """For an agent. It costs the manager no time, and all are answered."""
        request = b"GET /api/v1/about HTTP/1.1\r\nHost: x\r\n\r\n"
        slow = f"GET /api/v1/servers/fake/metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.api.token}\r\n\r\n".encode()
        agent = test_manager_http.FakeAgent(self, "fake")
        self.addCleanup(agent.end)
        agent.silent.add("metrics.get")
        for before in (b"", request):
            with self.subTest(before=before), Raw(self) as c:
                c.s.settimeout(30)
                c.s.sendall(before + slow + request)
                c.s.sendall(request)
                if before:
                    self.assertEqual(c.read()[0], 200)
                time.sleep(0.3)
                used = processor_time(self.cluster.manager.pid)
                time.sleep(2)
                self.assertLess(processor_time(self.cluster.manager.pid) - used, 0.5)
                self.assertEqual([c.read()[0] for _ in range(3)], [504, 200, 200])

    def test_a_client_that_goes_before_its_answer(self):
        """Nothing is left of it."""
        agent = test_manager_http.FakeAgent(self, "gone")
        agent.silent.add("metrics.get")
        descriptors = f"/proc/{self.cluster.manager.pid}/fd"
        before = len(os.listdir(descriptors))
        clients = [Raw(self) for _ in range(20)]
        for number, c in enumerate(clients):
            for _ in range(1 + number % 2):
                c.send("GET", "/api/v1/servers/gone/metrics")
        cluster.wait_until(lambda: sum(message["op"] == "metrics.get" for message in agent.asked) == 20, 10, "the agent asked")
        for c in clients:
            c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
        agent.end()  # which answers them
        cluster.wait_until(lambda: len(os.listdir(descriptors)) <= before, 10, "their connections closed")
        used = processor_time(self.cluster.manager.pid)
        time.sleep(2)
        self.assertLess(processor_time(self.cluster.manager.pid) - used, 0.5)
