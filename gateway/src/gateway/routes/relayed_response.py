"""A response of the engine, relayed while its client is connected."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.errors import ParleyError
from gateway.routes.client_disconnect import wait_for_disconnect
from gateway.routes.event_stream import EventStream, error_chunk
from gateway.routes.ports import ChatRelay


class RelayedResponse(Response):
    """A client that disconnects, also before the first byte, stops the engine within moments.

    The response starts with the engine's first event, so that an error before it has its own status.
    """

    def __init__(self, relay: ChatRelay, *, stream: bool, on_close: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._relay = relay
        self._respond = self._send_stream if stream else self._send_whole
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        responding = asyncio.create_task(self._respond(scope, receive, send))
        disconnecting = asyncio.create_task(wait_for_disconnect(receive))
        try:
            await asyncio.wait((responding, disconnecting), return_when=asyncio.FIRST_COMPLETED)
            if responding.done():
                responding.result()
        finally:
            responding.cancel()
            disconnecting.cancel()
            await asyncio.gather(responding, disconnecting, return_exceptions=True)
            await self._on_close()

    async def _send_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._relay.complete()
        await Response(body, media_type="application/json")(scope, receive, send)

    async def _send_stream(self, _: Scope, __: Receive, send: Send) -> None:
        async with aclosing(self._relay.stream()) as events:
            first = await anext(events)
            await EventStream(_with_error_event(first, events)).stream_response(send)


async def _with_error_event(first: bytes, events: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """Once the response has started, its status is sent: an error can only be an event."""
    yield first
    try:
        async for event in events:
            yield event
    except ParleyError as exc:
        yield error_chunk(exc)
