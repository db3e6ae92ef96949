"""Server-sent events as bytes that are passed on: split, but never rendered anew."""

import re
from collections.abc import AsyncIterator

# https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")


async def whole_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Each with the blank line that ends it. What is left of a stream that breaks off is dropped."""
    rest = b""
    async for chunk in chunks:
        rest += chunk
        begin = 0
        for end in _BLANK_LINE.finditer(rest):
            yield rest[begin : end.end()]
            begin = end.end()
        rest = rest[begin:]


def data_of(event: bytes) -> bytes:
    """Empty for a comment, which keeps a connection alive."""
    return b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
