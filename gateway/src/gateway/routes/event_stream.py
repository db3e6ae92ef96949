"""Events as server-sent events (WHATWG HTML, 9.2): `event:` and `data:`, no `id:`, `[DONE]` at the end."""

from collections.abc import AsyncIterator, Callable

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

_DONE = "data: [DONE]\n\n"
_TYPE_AT = len('{"type":"')


async def server_sent_events(frames: AsyncIterator[str]) -> AsyncIterator[str]:
    """Each event is one chunk: some parsers drop its first line when the second arrives later."""
    async for frame in frames:
        kind = frame[_TYPE_AT : frame.index('"', _TYPE_AT)]
        yield f"event: {kind}\ndata: {frame}\n\n"
    yield _DONE


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
