# SPDX-License-Identifier: Apache-2.0
"""The manager serves the console's files: codings, caching, the router's paths, headers, and nothing from elsewhere."""

import gzip
import os
import socket
import ssl
import subprocess
import unittest

import cluster

INDEX = b"<!doctype html><title>Tarn</title><script type=module src=/assets/index-abc.js></script>"
SCRIPT = b"console.log('tarn');\n" * 5000


def write(folder, name, data):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


class WebFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(0)
        cls.site = cls.cluster.manager.console_dir = os.path.join(cls.cluster.dir, "site")
        write(cls.site, "index.html", INDEX)
        write(cls.site, "assets/index-abc.js", SCRIPT)
        write(cls.site, "assets/index-abc.js.gz", gzip.compress(SCRIPT))
        write(cls.site, "assets/index-abc.js.br", b"what a compressor made of it")
        write(cls.site, "assets/large.bin", os.urandom(3 << 20))
        write(cls.site, "favicon.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
        write(cls.site, "only.css.gz", gzip.compress(b"a{}"))
        write(cls.site, ".hidden/secret.txt", b"not for you")
        write(cls.cluster.dir, "outside.txt", b"outside")
        os.symlink("../outside.txt", os.path.join(cls.site, "link.txt"))
        os.symlink("..", os.path.join(cls.site, "up"))
        cls.cluster.start()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def setUp(self):
        self.client = self.cluster.manager.client()  # nobody has signed in
        self.addCleanup(self.client.close)

    def get(self, path, method="GET", **headers):
        return self.client.raw(method, "/" + path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def test_index_and_the_routers_paths(self):
        for path in ("/", "/index.html", "/vms", "/vms/0d9f4b3c/console", "/vms?filter=a=b", "/a%20b", "/%E4%B8%AD"):
            answer = self.get(path)
            self.assertEqual((answer.status, answer.data), (200, INDEX), path)
            self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
            self.assertEqual(answer.headers["cache-control"], "no-cache")

    def test_what_is_not_there(self):
        for path in ("/nothing.js", "/assets/nothing", "/assets/", "/assets/nothing.js", "/api", "/api/v1", "/api/v2/vms", "/agent/v1",
                     "/api/v1/nothing", "/.hidden/secret.txt", "/link.txt", "/up/outside.txt", "/only.css", "/only.css.gz",
                     "/assets/index-abc.js.gz", "/assets/index-abc.js/", "/index.html/x.js"):
            answer = self.get(path)
            self.assertIn(answer.status, (400, 404), path)
            self.assertNotIn(b"outside", answer.data)
            self.assertNotIn(b"not for you", answer.data)

    def test_ways_out(self):
        for path in ("/../outside.txt", "/assets/../../outside.txt", "/%2e%2e/outside.txt", "/..%2foutside.txt", "/.%2e/outside.txt",
                     "/%2e%2e%2foutside.txt", "/..%5coutside.txt", "//outside.txt", "/assets/..%2f..%2foutside.txt", "/%252e%252e/outside.txt",
                     "/..;/outside.txt", "/up/..%2foutside.txt", "/%c0%ae%c0%ae/outside.txt", "/.../outside.txt", "/%00/../outside.txt", "/./../outside.txt"):
            status, data = self.raw(path)
            self.assertIn(status, (0, 400, 404), path)  # 0: closed without an answer
            self.assertNotIn(b"outside", data.split(b"\r\n\r\n", 1)[-1])

    def raw(self, path):
        """The path word for word, on a connection of its own."""
        plain = socket.create_connection(("127.0.0.1", self.cluster.manager.port), 10)
        context = ssl.create_default_context(cafile=self.cluster.manager.ca)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while True:
                try:
                    more = s.recv(65536)
                except (ssl.SSLError, ConnectionError):
                    break
                data += more
                length = data.split(b"Content-Length: ", 1)
                if not more or (b"\r\n\r\n" in data and len(length) == 2 and
                                len(data.split(b"\r\n\r\n", 1)[1]) >= int(length[1].split(b"\r\n", 1)[0])):
                    break
            return (int(data.split(b" ", 2)[1]) if data else 0), data

    def test_huge_paths(self):
        for length in (100, 4000, 15000):
            self.assertEqual(self.get("/" + "x" * length).status, 200)
            self.assertEqual(self.get("/" + "x" * length + ".js").status, 404)
        self.assertNotEqual(self.raw("/" + "x" * 100000)[0], 200)
        self.assertEqual(self.get("/").status, 200)

    def test_codings(self):
        for accept, coding in (("gzip, deflate, br", "br"), ("gzip", "gzip"), ("identity", None), ("br;q=0, gzip", "gzip"), ("", None),
                               ("*", "br"), ("gzip;q=0,br;q=0", None)):
            answer = self.get("/assets/index-abc.js", Accept_Encoding=accept)
            self.assertEqual((answer.status, answer.headers.get("content-encoding")), (200, coding), accept)
            self.assertEqual(answer.headers["content-type"], "text/javascript; charset=utf-8")
            self.assertEqual(answer.headers["vary"], "Accept-Encoding")
            plain = gzip.decompress(answer.data) if coding == "gzip" else answer.data
            self.assertEqual(plain, SCRIPT if coding != "br" else b"what a compressor made of it")
        self.assertNotIn("content-encoding", self.get("/favicon.svg", Accept_Encoding="br, gzip").headers)

    def test_caching(self):
        tags = set()
        for accept in ("identity", "gzip", "br"):
            first = self.get("/assets/index-abc.js", Accept_Encoding=accept)
            self.assertEqual(first.headers["cache-control"], "public, max-age=31536000, immutable")
            tags.add(first.etag)
            for known in (first.etag, "W/" + first.etag, f'"x", {first.etag}', "*"):
                again = self.get("/assets/index-abc.js", Accept_Encoding=accept, If_None_Match=known)
                self.assertEqual((again.status, again.data, again.etag), (304, b"", first.etag))
                self.assertNotIn("content-length", again.headers)
        self.assertEqual(len(tags), 3)
        self.assertEqual(self.get("/", If_None_Match='"other"').status, 200)
        self.assertEqual(self.get("/vms", If_None_Match=self.get("/").etag).status, 304)

    def test_methods_and_ranges(self):
        head = self.get("/assets/large.bin", "HEAD")
        self.assertEqual((head.status, head.data, head.headers["content-length"]), (200, b"", str(3 << 20)))
        whole = self.get("/assets/large.bin", Range="bytes=0-9")
        self.assertEqual((whole.status, len(whole.data)), (200, 3 << 20))
        with open(os.path.join(self.site, "assets/large.bin"), "rb") as f:
            self.assertEqual(whole.data, f.read())
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = self.client.raw(method, "//index.html", b"")
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET"))

    def test_headers(self):
        for path in ("/", "/assets/index-abc.js", "/vms"):
            h = self.get(path).headers
            policy = dict(part.strip().split(" ", 1) for part in h["content-security-policy"].split(";"))
            self.assertEqual((policy["default-src"], policy["script-src"], policy["frame-ancestors"]), ("'none'", "'self'", "'none'"))
            self.assertNotIn("unsafe-eval", h["content-security-policy"])
            self.assertEqual((h["x-content-type-options"], h["referrer-policy"]), ("nosniff", "no-referrer"))
            self.assertIn("camera=()", h["permissions-policy"])
            self.assertNotIn("strict-transport-security", h)  # it would bind every other port of this machine
        self.assertEqual(self.get("/", Host="tarn.example").headers["strict-transport-security"], "max-age=31536000")
        # The API's answers keep their own.
        h = self.get("/api/v1/about").headers
        self.assertEqual((h["cache-control"], h["content-security-policy"]), ("no-store", "default-src 'none'; frame-ancestors 'none'"))

    def test_the_pages_beside_it(self):
        self.assertIn(b"BEGIN CERTIFICATE", self.get("/ca.pem").data)
        self.assertEqual(self.get("/metrics").status, 401)
        self.assertEqual(self.get("/api/v1/openapi.json").headers["content-type"], "application/json")


class NoConsole(cluster.ClusterCase):
    AGENTS, REPOSITORY, TEMPLATE = 0, False, False

    def test_the_root_says_so(self):
        answer = self.cluster.manager.client().raw("GET", "//")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/plain; charset=utf-8"))
        self.assertIn(b"web console is not installed", answer.data)
        self.assertEqual(self.cluster.manager.client().raw("GET", "//vms").status, 404)

    def start_with(self, folder):
        return subprocess.run([cluster.MANAGER, "--state-dir", os.path.join(self.cluster.dir, "other"), "--listen", "127.0.0.1:0",
                               "--console-dir", folder, "--check"], capture_output=True, text=True, timeout=60)

    def test_a_directory_that_is_none(self):
        done = self.start_with("/nowhere/at/all")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--console-dir", done.stderr)
        empty = os.path.join(self.cluster.dir, "empty")
        os.mkdir(empty)
        done = self.start_with(empty)
        self.assertEqual(done.returncode, 1)
        self.assertIn("index.html", done.stderr)
        with open(os.path.join(empty, "index.html"), "wb") as f:
            f.truncate(17 << 20)
        done = self.start_with(empty)
        self.assertEqual(done.returncode, 1)
        self.assertIn("too large", done.stderr.lower())
