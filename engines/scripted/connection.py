"""HTTP/1.1 on an asyncio transport, with failures that a server framework would not allow."""

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol, cast

import httptools

from engines.scripted.errors import phrase
from engines.scripted.script import By

_STREAM_END: Final = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    # Names in lower case.
    headers: Mapping[str, str]
    body: bytes


class Application(Protocol):
    def handle(self, request: Request, connection: "Connection") -> None:
        """Responds through the connection, now or later."""


class DisconnectListener(Protocol):
    def client_disconnected(self) -> None:
        """The client closed the connection before the response was complete."""


class Connection(asyncio.Protocol):
    """One request at a time; pipelined requests wait."""

    def __init__(self, application: Application, connections: set["Connection"]) -> None:
        self.is_congested = False
        self.disconnect_listener: DisconnectListener | None = None
        self._application = application
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._requests: deque[tuple[Request, bool]] = deque()
        self._is_busy = False
        self._keep_alive = True

    @property
    def closed(self) -> bool:
        return self._transport.is_closing()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self.disconnect_listener is not None:
            self.disconnect_listener.client_disconnected()
            self.disconnect_listener = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._is_busy:
                self.abort()
                return
            self._keep_alive = False
            self.respond(HTTPStatus.BAD_REQUEST, b"Invalid HTTP request received.", "text/plain; charset=utf-8")

    def pause_writing(self) -> None:
        self.is_congested = True

    def resume_writing(self) -> None:
        self.is_congested = False

    # -- httptools

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        method, path = self._parser.get_method().decode(), self._url.partition(b"?")[0].decode("latin-1")
        request = Request(method, path, self._headers, b"".join(self._body))
        self._requests.append((request, self._parser.should_keep_alive()))
        self._next()

    # -- responses

    def respond(self, status: int, body: bytes, content_type: str | None = None, headers: Iterable[str] = ()) -> None:
        typed = [f"content-type: {content_type}"] if content_type else []
        head = self._head(status, [f"content-length: {len(body)}", *typed, *headers])
        self._transport.write(head + body)
        self._response_sent()

    def open_stream(self) -> None:
        headers = ["content-type: text/event-stream; charset=utf-8", "transfer-encoding: chunked"]
        self._transport.write(self._head(HTTPStatus.OK, headers))

    def send(self, frames: bytes) -> None:
        self._transport.write(frames)

    def close_stream(self) -> None:
        self._transport.write(_STREAM_END)
        self._response_sent()

    def drop(self, partial: bytes, by: By = "close") -> None:
        """Closes the connection after `partial`, which may end inside a frame."""
        self.disconnect_listener = None
        self._transport.write(partial)
        if by == "reset":
            self._reset_when_written()
        else:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _reset_when_written(self) -> None:
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(0.001, self._reset_when_written)
            return
        # A linger time of zero makes the kernel send RST instead of FIN.
        with socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _head(self, status: int, headers: list[str]) -> bytes:
        lines = [
            f"HTTP/1.1 {status} {phrase(status)}",
            f"date: {formatdate(usegmt=True)}",
            "server: uvicorn",
            *headers,
            "vary: Origin",
        ]
        if not self._keep_alive:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _response_sent(self) -> None:
        self.disconnect_listener = None
        self._is_busy = False
        if self._keep_alive:
            asyncio.get_running_loop().call_soon(self._next)
        else:
            self._transport.close()

    def _next(self) -> None:
        if self._is_busy or not self._requests or self._transport.is_closing():
            return
        self._is_busy = True
        request, self._keep_alive = self._requests.popleft()
        self._application.handle(request, self)


def frame(event: bytes) -> bytes:
    """An HTTP chunk; vLLM sends each event as one."""
    return b"%x\r\n%b\r\n" % (len(event), event)


def partial_frame(event: bytes, length: int) -> bytes:
    """The first `length` bytes of an event, in a chunk whose size is that of the whole event."""
    return b"%x\r\n%b" % (len(event), event[:length])
