"""Events as server-sent events (WHATWG HTML, 9.2): `event:` and `data:`, no `id:`, `[DONE]` at the end."""

from collections.abc import AsyncIterator, Callable

import msgspec
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.errors import ParleyError

DONE = "data: [DONE]\n\n"
_TYPE_AT = len('{"type":"')


def event(frame: str) -> str:
    """`frame` begins with its type, as gateway.protocol.events encodes it."""
    kind = frame[_TYPE_AT : frame.index('"', _TYPE_AT)]
    return f"event: {kind}\ndata: {frame}\n\n"


def error_chunk(error: ParleyError) -> bytes:
    """The end of a chat completion, whose events have no type."""
    return b"data: %b\n\n" % msgspec.json.encode({"error": error.body()}) + DONE.encode()


async def server_sent_events(frames: AsyncIterator[str]) -> AsyncIterator[str]:
    """Each event is one chunk: some parsers drop its first line when the second arrives later."""
    async for frame in frames:
        yield event(frame)
    yield DONE


class EventStream(StreamingResponse):
    """`on_close` is called at the end, also when the client disconnects before the first chunk is requested."""

    def __init__(
        self, chunks: AsyncIterator[str] | AsyncIterator[bytes], on_close: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(
            chunks,
            media_type="text/event-stream",
            # Our nginx has this in its own configuration; the header is for a proxy in front of it.
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_close()


def event_stream(frames: AsyncIterator[str], on_close: Callable[[], None] = lambda: None) -> EventStream:
    return EventStream(server_sent_events(frames), on_close)
