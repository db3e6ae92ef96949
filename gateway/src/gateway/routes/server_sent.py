"""Events as server-sent events (WHATWG HTML, 9.2): `event:` and `data:`, no `id:`, `[DONE]` at the end."""

from collections.abc import AsyncIterator, Callable

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

_DONE = "data: [DONE]\n\n"
_TYPE_AT = len('{"type":"')


async def server_sent(frames: AsyncIterator[str]) -> AsyncIterator[str]:
    """Each event in one piece: some parsers forget its first line when the second comes later."""
    async for frame in frames:
        kind = frame[_TYPE_AT : frame.index('"', _TYPE_AT)]
        yield f"event: {kind}\ndata: {frame}\n\n"
    yield _DONE


class EventStream(StreamingResponse):
    """`when_left` is called at the end, also when the client has gone before the first piece was asked for."""

    def __init__(
        self, pieces: AsyncIterator[str] | AsyncIterator[bytes], when_left: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(
            pieces,
            media_type="text/event-stream",
            # nginx is told in its own configuration; this is for a proxy in front of it.
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
        self._when_left = when_left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._when_left()


def streamed(frames: AsyncIterator[str], when_left: Callable[[], None] = lambda: None) -> EventStream:
    return EventStream(server_sent(frames), when_left)
