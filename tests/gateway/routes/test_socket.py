import asyncio
import logging
from typing import Any

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from gateway.routes.socket import MAX_QUEUED_REQUESTS, ClientDisconnected, RequestQueue, Socket

LEAVE: Message = {"type": "websocket.disconnect", "code": 1000}


async def ignore(_: str) -> None:
    """Handles nothing."""


class Client:
    """The other end of a socket: it sends `messages`."""

    def __init__(self, *messages: Message) -> None:
        self._messages = iter(({"type": "websocket.connect"}, *messages))
        self.received: list[Message] = []

    async def connect(self) -> Socket:
        websocket: WebSocket[Any] = WebSocket({"type": "websocket"}, self._receive, self._send)
        await websocket.accept()
        return Socket(websocket)

    @property
    def close_codes(self) -> list[int]:
        return [one["code"] for one in self.received if one["type"] == "websocket.close"]

    async def _receive(self) -> Message:
        return next(self._messages)

    async def _send(self, message: Message) -> None:
        self.received.append(message)


def text(content: str) -> Message:
    return {"type": "websocket.receive", "text": content}


async def test_frames_end_when_the_client_disconnects() -> None:
    socket = await Client(text("a"), text("b"), LEAVE).connect()
    assert [frame async for frame in socket.frames()] == ["a", "b"]


async def test_nothing_is_sent_on_a_closed_socket() -> None:
    socket = await Client().connect()
    await socket.close(1000)
    with pytest.raises(ClientDisconnected):
        await socket.send("too late")


async def test_a_binary_frame_closes_the_socket_with_1003() -> None:
    client = Client(text("a"), {"type": "websocket.receive", "bytes": b"b"})
    socket = await client.connect()
    assert [frame async for frame in socket.frames()] == ["a"]
    assert client.close_codes == [1003]
    await socket.close(1000)
    assert client.close_codes == [1003]


async def test_a_full_queue_accepts_no_request() -> None:
    queue: RequestQueue[str] = RequestQueue(await Client().connect())
    assert [queue.put("x") for _ in range(MAX_QUEUED_REQUESTS + 1)] == [True] * MAX_QUEUED_REQUESTS + [False]


async def test_requests_are_answered_one_at_a_time_in_order() -> None:
    answered: list[str] = []
    done = asyncio.Event()
    client = Client(text("a"), text("b"))
    queue: RequestQueue[str] = RequestQueue(await client.connect())

    async def receive(frame: str) -> None:
        assert queue.put(frame)
        if frame == "b":
            await done.wait()
            raise ClientDisconnected

    async def answer(request: str) -> None:
        answered.append(request)
        await asyncio.sleep(0)
        answered.append(request)
        if request == "b":
            done.set()

    await queue.run(receive, answer)
    assert answered == ["a", "a", "b", "b"]
    assert client.close_codes == []


@pytest.mark.parametrize("where", ["receive", "watch"])
async def test_a_bug_closes_the_socket_with_1011(where: str, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(*_: str) -> None:
        raise ZeroDivisionError

    async def wait(_: str) -> None:
        await asyncio.Event().wait()

    client = Client(text("a"), LEAVE)
    queue: RequestQueue[str] = RequestQueue(await client.connect())
    with caplog.at_level(logging.ERROR):
        await queue.run(*((fail, ignore) if where == "receive" else (wait, ignore, fail)))
    assert client.close_codes == [1011]
    assert "a socket failed unexpectedly" in caplog.text
