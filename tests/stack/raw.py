"""Raw bytes that no client library would send."""

import json
import os
import re
import socket
import struct
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.stack.conftest import Deployment

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error

    @property
    def code(self) -> str:
        return str(self.error["code"])


def exchanged(deployment: Deployment, data: bytes) -> Answer:
    """nginx' answer, until the end of its body or of the connection."""
    with socket.create_connection(("127.0.0.1", deployment.stack.port), timeout=10) as connection:
        connection.sendall(data)
        answer = b""
        while received := connection.recv(65536):
            answer += received
            head, end, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if end and length and len(body) >= int(length[1]):
                break
    head, _, body = answer.partition(b"\r\n\r\n")
    return Answer(int(head.split(b" ")[1]), body)


def request(line: str, *headers: str, body: bytes = b"", host: str = "Host: localhost") -> bytes:
    """`line` without the version; an empty `host` sends no such header."""
    lines = [f"{line} HTTP/1.1", *([host] if host else []), *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def handshake(deployment: Deployment, *headers: str, path: str = "/v1/responses") -> bytes:
    key = b64encode(os.urandom(16)).decode()
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}")
    return request(f"GET {path}", f"Authorization: Bearer {deployment.alice}", *upgrade, *headers)


def frame(kind: int, data: bytes = b"", *, last: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """RFC 6455, section 5.2; the mask is all zeros."""
    size, mask = len(data), 0x80 if masked else 0
    head = bytes([(0x80 if last else 0) | reserved << 4 | kind])
    if size < 126:
        head += bytes([mask | size])
    else:
        head += bytes([mask | 126]) + struct.pack("!H", size) if size < 65536 else b""
        head += bytes([mask | 127]) + struct.pack("!Q", size) if size >= 65536 else b""
    return head + (b"\0\0\0\0" if masked else b"") + data


class Socket:
    """A WebSocket whose every byte the test writes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")
        head = b"".join(iter(self._file.readline, b"\r\n"))
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert b"sec-websocket-extensions" not in head.lower()

    def send(self, data: bytes) -> None:
        """The server may close the connection before it has received everything."""
        try:
            self._connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def receive(self) -> tuple[int, bytes]:
        """Kind and payload of the next frame."""
        first, size = self._file.read(2)
        if size == 126:
            (size,) = struct.unpack("!H", self._file.read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._file.read(8))
        return first & 0x0F, self._file.read(size)

    def event(self) -> dict[str, Any]:
        kind, data = self.receive()
        assert kind == TEXT, (kind, data)
        event: dict[str, Any] = json.loads(data)
        return event

    def closing(self) -> int:
        """The close code; frames before it are ignored."""
        while True:
            kind, data = self.receive()
            if kind == CLOSE:
                return int.from_bytes(data[:2])


@contextmanager
def opened(deployment: Deployment, *headers: str, path: str = "/v1/responses") -> Iterator[Socket]:
    with socket.create_connection(("127.0.0.1", deployment.stack.port), timeout=10) as connection:
        connection.sendall(handshake(deployment, *headers, path=path))
        yield Socket(connection)
