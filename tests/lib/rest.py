# SPDX-License-Identifier: Apache-2.0
"""A client of the REST API for tests: thin, so that a test sees exactly what is sent and what comes back."""

import http.client
import json
import ssl
import time
import urllib.parse

import ws

ENDED = ("done", "failed", "aborted")


class ApiError(Exception):
    def __init__(self, status, error):
        super().__init__(f"{status} {error}")
        self.status = status
        self.code = error.get("code")
        self.message = error.get("message", "")
        self.field = error.get("field")


class JobFailed(Exception):
    def __init__(self, job):
        super().__init__(f"job {job['kind']} {job['state']}: {job.get('error_code')} {job.get('error')}")
        self.job = job
        self.code = job.get("error_code")
        self.message = job.get("error", "")


class Answer:
    def __init__(self, status, headers, data):
        self.status = status
        self.headers = headers
        self.data = data

    @property
    def json(self):
        """The body; of an error what stands in its envelope {"error": {...}}."""
        value = json.loads(self.data)
        return value["error"] if self.status >= 400 and isinstance(value, dict) and list(value) == ["error"] else value

    @property
    def etag(self):
        return self.headers.get("etag")


class Client:
    """One signed-in user. Not for several threads at once: copy() gives another with a connection of its own."""

    def __init__(self, host, port, ca, token=None):
        self.host, self.port, self.ca, self.token = host, port, ca, token
        self.context = ssl.create_default_context(cafile=ca)
        self.connection = None

    def copy(self, token=None):
        return Client(self.host, self.port, self.ca, token or self.token)

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def raw(self, method, path, body=None, headers=None, timeout=60):
        """Any request, any answer. body: bytes, str, or what becomes JSON. The path is below /api/v1 unless it starts //."""
        path = path[1:] if path.startswith("//") else "/api/v1" + path
        headers = dict(headers or {})
        if self.token and "Authorization" not in headers:
            headers["Authorization"] = "Bearer " + self.token
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        if isinstance(body, str):
            body = body.encode()
        for attempt in (1, 2):
            fresh = self.connection is None
            if fresh:
                self.connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.context)
            try:
                if self.connection.sock:
                    self.connection.sock.settimeout(timeout)
                self.connection.request(method, path, body, headers)
                answer = self.connection.getresponse()
                data = answer.read()
                if answer.will_close:
                    self.close()
                return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, data)
            except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLError, http.client.CannotSendRequest):
                # A kept connection may have ended in the meantime (the manager was restarted): once more, afresh.
                self.close()
                if fresh or attempt == 2:
                    raise
            except OSError:
                self.close()
                raise
        raise AssertionError("not reached")

    def call(self, method, path, body=None, headers=None, timeout=60):
        """The JSON of a successful answer (None if it has no body); ApiError else."""
        answer = self.raw(method, path, body, headers, timeout)
        if answer.status >= 400:
            try:
                error = answer.json
            except ValueError:
                error = {"code": "not-json", "message": answer.data[:200].decode(errors="replace")}
            raise ApiError(answer.status, error)
        return answer.json if answer.data else None

    def get(self, path, **query):
        if query:
            path += "?" + urllib.parse.urlencode(query)
        return self.call("GET", path)

    def post(self, path, body=None):
        return self.call("POST", path, body)

    def patch(self, path, body, etag=None):
        return self.call("PATCH", path, body, {"If-Match": etag} if etag else None)

    def delete(self, path):
        return self.call("DELETE", path)

    def list(self, path, **query):
        """All pages."""
        items = []
        while True:
            page = self.get(path, **query)
            items += page["items"]
            if not page.get("next"):
                return items
            query["after"] = page["next"]

    # ---- jobs ----

    def wait_job(self, job, timeout=60):
        """The job as it ended. job: a Job or an id."""
        key = job if isinstance(job, str) else job["id"]
        deadline = time.monotonic() + timeout
        pause = 0.01
        while True:
            job = self.get("/jobs/" + key)
            if job["state"] in ENDED:
                return job
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job['kind']} still {job['state']}: {job.get('message')} {job.get('steps')}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    def run(self, method, path, body=None, timeout=60):
        """A request that makes a job: waits until it is done, raises JobFailed where it is not."""
        job = self.wait_job(self.call(method, path, body), timeout)
        if job["state"] != "done":
            raise JobFailed(job)
        return job

    def do(self, path, body=None, timeout=60):
        return self.run("POST", path, body, timeout)

    def remove(self, path, timeout=60):
        return self.run("DELETE", path, None, timeout)

    def sign_in(self, name, password):
        session = self.copy().post("/sessions", {"name": name, "password": password})
        return self.copy(session["secret"])

    # ---- uploads ----

    def upload(self, name, data, repository=None, piece=8 << 20):
        """Sends bytes; the id of the complete upload."""
        body = {"name": name, "size": len(data)}
        if repository:
            body["repository"] = repository
        key = self.post("/uploads", body)["id"]
        for at in range(0, len(data), piece):
            self.call("PUT", f"/uploads/{key}/data?offset={at}", data[at:at + piece],
                      {"Content-Type": "application/octet-stream"}, timeout=120)
        return key

    # ---- WebSockets ----

    def socket(self, path, receive_buffer=None, headers=None):
        headers = dict(headers or {})
        if self.token:
            headers.setdefault("Authorization", "Bearer " + self.token)
        return ws.WebSocket(self.host, self.port, "/api/v1" + path, headers, self.context, receive_buffer=receive_buffer)


class Console:
    """A guest's serial console, as a person at it would use it."""

    def __init__(self, client, vm):
        self.ws = client.socket(f"/vms/{vm}/console?type=serial")
        self.text = ""
        self.entered = False

    def expect(self, text, timeout=60):
        """Waits for text; returns all up to and with it, and forgets that."""
        deadline = time.monotonic() + timeout
        while text not in self.text:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{text!r} did not come; the console's last: {self.text[-600:]!r}")
            try:
                self.text += self.ws.receive(min(left, 8)).decode(errors="replace").replace("\x1b[6n", "")
            except TimeoutError:
                # Of what is typed when the shell has just begun on a busy machine the Enter was not taken, two times in some
                # hundreds of boots (never of 6,000 lines typed later). A person would press it once more.
                if self.entered:
                    self.ws.send(b"\n")
                self.entered = False
        at = self.text.index(text) + len(text)
        taken, self.text = self.text[:at], self.text[at:]
        return taken

    def prompt(self, timeout=60):
        return self.expect("# ", timeout)

    def send(self, text):
        self.ws.send(text.encode())
        self.entered = text.endswith("\n")

    def command(self, line, timeout=60):
        """Runs a command at the prompt; its output."""
        # The quotes keep the echo of what is typed from looking like the answer.
        self.send(f'echo BE""GIN; {line}; echo EN""D-$?-\n')
        self.expect("BEGIN\r\n", timeout)
        output = self.expect("END-", timeout)[:-4]
        status = self.expect("-", timeout)[:-1]
        self.prompt(timeout)
        return output.replace("\r\n", "\n"), int(status)

    def close(self):
        self.ws.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
