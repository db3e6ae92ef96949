"""Events as server-sent events (WHATWG HTML, 9.2): `event:` and `data:`, no `id:`, `[DONE]` at the end."""

from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse

_DONE = "data: [DONE]\n\n"
_TYPE_AT = len('{"type":"')


async def server_sent(frames: AsyncIterator[str]) -> AsyncIterator[str]:
    """Each event in one piece: some parsers forget its first line when the second comes later."""
    async for frame in frames:
        kind = frame[_TYPE_AT : frame.index('"', _TYPE_AT)]
        yield f"event: {kind}\ndata: {frame}\n\n"
    yield _DONE


def streamed(frames: AsyncIterator[str]) -> StreamingResponse:
    return event_stream(server_sent(frames))


def event_stream(pieces: AsyncIterator[str] | AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(
        pieces,
        media_type="text/event-stream",
        # nginx is told in its own configuration; this is for a proxy in front of it.
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )
