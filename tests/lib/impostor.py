# SPDX-License-Identifier: Apache-2.0
"""An agent that is not ours: it has joined, holds a server's certificate, and says whatever a test wants the manager to hear."""

import json
import os
import queue
import ssl
import threading
import time

import ws


class Impostor:
    def __init__(self, of, name):
        self.name = name
        agent = of.add_agent(name, start=False)
        of.agents.remove(agent)
        self.port = of.manager.port
        self.context = ssl.create_default_context(cafile=of.manager.ca)
        self.context.load_cert_chain(os.path.join(agent.state, "agent.crt"), os.path.join(agent.state, "agent.key"))
        self.id = of.api.get("/servers/" + name)["id"]
        self.socket = self.ended = None
        self.heard, self.sending = queue.Queue(), threading.Lock()

    def hello(self, **hardware):
        return {"version": "0.1", "protocol": 1, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "server": {"name": self.name, "hardware": {"cpus": 2, "memory": 4 << 30, **hardware}, "hypervisors": []}}

    def connect(self, report=True):
        self.socket = ws.WebSocket("127.0.0.1", self.port, "/agent/v1", context=self.context)
        send = self.socket.send

        def one_at_a_time(*args):
            with self.sending:
                send(*args)
        self.socket.send = one_at_a_time
        self.ended, self.heard = None, queue.Queue()
        threading.Thread(target=self.listen, args=(self.socket, self.heard), daemon=True).start()
        self.event("hello", self.hello())
        assert self.next()["event"] == "welcome"
        if report:
            self.event("report", {})
        return self

    def listen(self, connection, heard):
        """Pings are answered whatever the test does."""
        while True:
            try:
                heard.put(json.loads(connection.receive(1)))
            except TimeoutError:
                continue
            except (OSError, ws.Closed, ValueError) as error:
                if connection is self.socket:
                    self.ended = error
                return

    def next(self, op=None, timeout=20):
        """The next message, or the next with this op."""
        while True:
            message = self.heard.get(timeout=timeout)
            if not op or message.get("op") == op:
                return message

    def say(self, message):
        self.socket.send(message if isinstance(message, str) else json.dumps(message))

    def event(self, event, args):
        self.say({"event": event, "args": args})

    def close(self):
        if self.socket:
            self.socket.close()
