"""An answer of the engine, passed on for as long as its client listens."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.engine.relay import ChatRelay
from gateway.errors import ParleyError
from gateway.routes.server_sent import EventStream

_encode = msgspec.json.encode


class RelayedResponse(Response):
    """A client that leaves, also before the first byte, stops the engine within moments.

    The answer begins with the engine's first event, so that what it refuses until then has its own status.
    """

    def __init__(self, relay: ChatRelay, *, stream: bool, when_over: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._relay = relay
        self._answer = self._streamed if stream else self._whole
        self._when_over = when_over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = asyncio.create_task(self._answer(scope, receive, send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            answering.cancel()
            leaving.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)
            await self._when_over()

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._relay.complete()
        await Response(body, media_type="application/json")(scope, receive, send)

    async def _streamed(self, _: Scope, __: Receive, send: Send) -> None:
        async with aclosing(self._relay.stream()) as events:
            first = await anext(events)
            await EventStream(_from(first, events)).stream_response(send)


async def _from(first: bytes, events: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """Once an answer has begun, its failure can only be told as an event."""
    yield first
    try:
        async for event in events:
            yield event
    except ParleyError as exc:
        yield b"data: %b\n\ndata: [DONE]\n\n" % _encode({"error": exc.body()})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
