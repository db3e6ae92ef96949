"""`gateway.routes.relayed_response` alone; `tests/gateway/engine/test_relay.py` has it with a real relay and engine."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from gateway.errors import EngineFailed, Unavailable
from gateway.protocol.resources import Usage
from gateway.routes.relayed_response import RelayedResponse


class FakeRelay:
    """Yields `events`, then raises `error` or waits."""

    def __init__(self, *events: bytes, error: Exception | None = None) -> None:
        self._events = events
        self._error = error
        self.is_closed = False

    async def complete(self) -> bytes:
        return b"".join([event async for event in self.stream()])

    async def stream(self) -> AsyncGenerator[bytes]:
        try:
            for event in self._events:
                yield event
            if self._error is not None:
                raise self._error
            await asyncio.Event().wait()
        finally:
            self.is_closed = True

    async def usage(self) -> Usage | None:
        return None


class Client:
    def __init__(self, relay: FakeRelay, *, stream: bool) -> None:
        self.disconnected = asyncio.Event()
        self.received: list[Message] = []
        self.closed = 0
        self._response = RelayedResponse(relay, stream=stream, on_close=self._count_close)

    async def run(self) -> None:
        await self._response({"type": "http"}, self._receive, self._send)

    async def _receive(self) -> Message:
        await self.disconnected.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.received.append(message)

    async def _count_close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_disconnects_before_the_first_byte_closes_the_relay(stream: bool) -> None:
    relay = FakeRelay()
    client = Client(relay, stream=stream)
    running = asyncio.create_task(client.run())
    await asyncio.sleep(0)
    client.disconnected.set()
    await running
    assert relay.is_closed
    assert (client.received, client.closed) == ([], 1)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_before_the_first_event_is_raised(stream: bool) -> None:
    client = Client(FakeRelay(error=Unavailable("vllm")), stream=stream)
    with pytest.raises(Unavailable):
        await client.run()
    assert (client.received, client.closed) == ([], 1)


async def test_an_error_after_the_first_event_is_an_event() -> None:
    client = Client(FakeRelay(b"data: 1\n\n", error=EngineFailed("broken")), stream=True)
    await client.run()
    start, first, error, *_ = client.received
    assert (start["status"], first["body"]) == (200, b"data: 1\n\n")
    assert b'"message":"broken"' in error["body"]
    assert error["body"].endswith(b"data: [DONE]\n\n")
    assert client.closed == 1
