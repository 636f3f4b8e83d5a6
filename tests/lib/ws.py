# SPDX-License-Identifier: Apache-2.0
"""A WebSocket client for tests: one thread, blocking with deadlines, no dependency."""

import base64
import os
import socket
import ssl
import struct
import time

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Refused(Exception):
    """The upgrade was answered with another status than 101."""

    def __init__(self, status, body):
        super().__init__(f"upgrade refused: {status} {body[:200]!r}")
        self.status = status
        self.body = body


class Closed(Exception):
    def __init__(self, code, reason):
        super().__init__(f"closed: {code} {reason}")
        self.code = code
        self.reason = reason


class WebSocket:
    def __init__(self, host, port, path, headers=None, context=None, timeout=20, receive_buffer=None):
        raw = socket.socket(socket.AF_INET)
        raw.settimeout(timeout)
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.connect((host, port))
        self.sock = context.wrap_socket(raw, server_hostname=host) if context else raw
        self.buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        deadline = time.monotonic() + timeout
        while b"\r\n\r\n" not in self.buffer:
            self._fill(deadline)
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        status = int(head.split(b" ")[1])
        if status != 101:
            self._read_rest(head)
            raise Refused(status, self.buffer)

    def _read_rest(self, head):
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        try:
            while len(self.buffer) < length:
                self._fill(time.monotonic() + 5)
        except (OSError, Closed):
            pass
        self.sock.close()

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("nothing came in time")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65536)
        except (ssl.SSLError, ConnectionResetError) as error:
            if isinstance(error, ssl.SSLError) and "timed out" in str(error):
                raise TimeoutError("nothing came in time") from error
            raise Closed(1006, str(error)) from error
        if not data:
            raise Closed(1006, "the connection ended")
        self.buffer += data

    def send(self, data, opcode=None):
        if isinstance(data, str):
            data, opcode = data.encode(), TEXT
        opcode = opcode or BINARY
        mask = os.urandom(4)
        length = len(data)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
        elif length < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
        whole = int.from_bytes(data, "big") ^ int.from_bytes((mask * (length // 4 + 1))[:length], "big") if length else 0
        self.sock.settimeout(20)
        self.sock.sendall(head + mask + whole.to_bytes(length, "big"))

    def _frame(self, deadline):
        while True:
            b = self.buffer
            if len(b) >= 2:
                length, at = b[1] & 0x7F, 2
                if length == 126 and len(b) >= 4:
                    length, at = struct.unpack("!H", b[2:4])[0], 4
                elif length == 127 and len(b) >= 10:
                    length, at = struct.unpack("!Q", b[2:10])[0], 10
                elif length >= 126:
                    at = 1 << 62
                if len(b) >= at + length:
                    self.buffer = b[at + length:]
                    return b[0] & 0x80, b[0] & 0x0F, b[at:at + length]
            self._fill(deadline)

    def receive(self, timeout=20):
        """The next message: str or bytes. Raises TimeoutError or Closed."""
        deadline = time.monotonic() + timeout
        message, kind = b"", None
        while True:
            final, opcode, data = self._frame(deadline)
            if opcode == PING:
                self.send(data, PONG)
            elif opcode == CLOSE:
                code = struct.unpack("!H", data[:2])[0] if len(data) >= 2 else 1005
                raise Closed(code, data[2:].decode(errors="replace"))
            elif opcode != PONG:
                kind = opcode or kind
                message += data
                if final:
                    return message.decode() if kind == TEXT else message

    def close(self, code=1000):
        try:
            self.send(struct.pack("!H", code), CLOSE)
        except OSError:
            pass
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
