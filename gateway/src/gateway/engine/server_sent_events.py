"""Server-sent events as bytes: split, never rendered again."""

import re
from collections.abc import AsyncIterator

# https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")


async def raw_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Each event including the blank line that ends it. An incomplete event at the end of the stream is dropped."""
    buffer = b""
    async for chunk in chunks:
        buffer += chunk
        start = 0
        for end in _BLANK_LINE.finditer(buffer):
            yield buffer[start : end.end()]
            start = end.end()
        buffer = buffer[start:]


def event_data(event: bytes) -> bytes:
    """Empty for a comment, which keeps a connection alive."""
    return b"\n".join(_data(line) for line in event.splitlines() if line.startswith(b"data:"))


async def data_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of events that have one `data:` line each, as engines send them: cheaper than `raw_events`."""
    buffer = b""
    async for chunk in chunks:
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield _data(line)


def _data(line: bytes) -> bytes:
    return line[5:].strip()
