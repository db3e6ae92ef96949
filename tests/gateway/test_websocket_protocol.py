"""The limits of one connection, without a network; over real sockets they are tested in tests/stack/test_bad_frames."""

import asyncio
import json
import struct
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.websocket_protocol import WebSocketProtocol

MAX_CONTROL_FRAMES = 1000
HANDSHAKE = (
    b"GET /v1/responses HTTP/1.1\r\nHost: parley\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, CONTINUATION, PING, PONG = 1, 0, 9, 10


def frame(opcode: int, data: bytes = b"", *, last: bool = True) -> bytes:
    """As a client sends it, masked by zeros."""
    return bytes([opcode | (0x80 if last else 0), 0x80 | len(data)]) + b"\0" * 4 + data


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Connection:
    """A connection to an application that records what it receives."""

    def __init__(self) -> None:
        self.transport = FakeTransport()
        self.received: list[Any] = []
        config = Config(self._app, interface="asgi3", ws_ping_interval=None, log_config=None)
        config.load()
        self.protocol = WebSocketProtocol(config=config, server_state=ServerState(), app_state={})
        self.protocol.connection_made(self.transport)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while not self.received or self.received[-1]["type"] != "websocket.disconnect":
            self.received.append(await receive())

    async def send(self, data: bytes) -> bytes:
        """Returns what the server answers."""
        before = len(self.transport.written)
        self.protocol.data_received(data)
        for _ in range(10):  # the application runs
            await asyncio.sleep(0)
        return self.transport.written[before:]

    async def disconnect(self) -> None:
        if self.protocol.close_timer is not None:
            self.protocol.close_timer.cancel()
        self.protocol.connection_lost(None)
        while self.protocol.tasks:
            await asyncio.sleep(0)

    @property
    def texts(self) -> list[str]:
        return [event["text"] for event in self.received if event["type"] == "websocket.receive"]


@pytest.fixture
async def connection() -> Any:
    opened = Connection()
    yield opened
    await opened.disconnect()


def is_close(answer: bytes, code: int) -> bool:
    """Maybe after the answer to a ping."""
    close = answer.removeprefix(b"\x8a\x00")
    return close[:1] == b"\x88" and close[2:4] == struct.pack("!H", code)


async def test_a_text_reaches_the_application(connection: Connection) -> None:
    assert b" 101 " in await connection.send(HANDSHAKE)
    await connection.send(frame(TEXT, b"hel", last=False) + frame(CONTINUATION, "lo你".encode()))
    assert connection.texts == ["hello你"]


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_a_client_may_send_a_thousand_control_frames_and_no_more(connection: Connection, opcode: int) -> None:
    await connection.send(HANDSHAKE)
    answer = await connection.send(frame(opcode) * MAX_CONTROL_FRAMES)
    assert b"\x88" not in answer
    assert is_close(await connection.send(frame(opcode)), 1008)
    assert connection.received == [{"type": "websocket.disconnect", "code": 1008}]


async def test_fragments_of_an_endless_message_are_counted_too(connection: Connection) -> None:
    await connection.send(HANDSHAKE)
    await connection.send(frame(TEXT, b"", last=False))
    assert await connection.send(frame(CONTINUATION, b"", last=False) * MAX_CONTROL_FRAMES) == b""
    assert is_close(await connection.send(frame(CONTINUATION, b"", last=False)), 1008)


async def test_after_the_close_frame_nothing_is_read_and_the_connection_is_closed_a_moment_later(
    connection: Connection,
) -> None:
    await connection.send(HANDSHAKE)
    await connection.send(frame(PING) * (MAX_CONTROL_FRAMES + 1))
    assert await connection.send(frame(PING) + frame(TEXT, b"late")) == b""
    assert (connection.texts, connection.transport.is_closed) == ([], False)
    assert connection.protocol.close_timer is not None


@pytest.mark.parametrize("data", [b"\xff\xfe", "你".encode()[:2], b"\xed\xa0\x80"])
async def test_a_text_that_is_not_utf_8_closes_the_connection_without_a_traceback(
    connection: Connection, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await connection.send(HANDSHAKE)
    assert is_close(await connection.send(frame(TEXT, data)), 1007)
    assert (connection.texts, caplog.records) == ([], [])


async def test_a_frame_before_the_handshake_was_answered_closes_the_connection_without_a_code(
    connection: Connection,
) -> None:
    assert await connection.send(HANDSHAKE + b"\xff\xff") == b""
    assert connection.transport.is_closed


async def test_a_request_with_a_body_is_no_handshake_and_gets_status_400(connection: Connection) -> None:
    request = HANDSHAKE.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello")
    assert (await connection.send(request)).startswith(b"HTTP/1.1 400 ")
    assert connection.transport.is_closed


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"Version: 13", b"Version: 12", b"invalid Sec-WebSocket-Version header: 12"),
        (b"Sec-WebSocket-Key: dGhl", b"Sec-WebSocket-Key: ", b"invalid Sec-WebSocket-Key header"),
        (b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello", b"expected a WebSocket handshake"),
    ],
)
async def test_a_handshake_that_is_refused_before_the_application_sees_it_has_the_form_of_every_error(
    connection: Connection, old: bytes, new: bytes, expected: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    head, _, body = (await connection.send(HANDSHAKE.replace(old, new))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/json" in head.lower()
    error = json.loads(body)["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_request", None)
    assert expected.decode() in error["message"]
    assert (connection.received, caplog.records) == ([], [])
