from collections.abc import AsyncIterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.server_sent_events import data_lines, event_data, raw_events


async def network(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@given(st.lists(st.text("ab你:", max_size=6), max_size=8), st.lists(st.integers(0, 200), max_size=10), st.booleans())
async def test_data_is_complete_regardless_of_how_the_network_splits_it(
    texts: list[str], cuts: list[int], crlf: bool
) -> None:
    end = "\r\n" if crlf else "\n"
    stream = "".join(f": ping{end}{end}event: x{end}data: {text}{end}{end}" for text in texts).encode()
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[start:stop] for start, stop in pairwise(places)]
    assert [data async for data in data_lines(network(pieces))] == [text.strip().encode() for text in texts]


async def test_events_are_complete_regardless_of_how_the_network_splits_them() -> None:
    stream = b': alive\n\ndata: {"a":"\xe5\xa4\xa7"}\r\n\r\nevent: x\ndata: 1\ndata: 2\n\ndata: half'

    async def byte_by_byte() -> AsyncIterator[bytes]:
        for position in range(len(stream)):
            yield stream[position : position + 1]

    events = [event async for event in raw_events(byte_by_byte())]
    assert [event_data(event) for event in events] == [b"", '{"a":"大"}'.encode(), b"1\n2"]
    assert b"".join(events) + b"data: half" == stream
