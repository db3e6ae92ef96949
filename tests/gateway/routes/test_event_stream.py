import asyncio
import json
from collections.abc import AsyncIterator

from starlette.types import Message

from gateway.errors import EngineFailed
from gateway.inference import TextDelta
from gateway.protocol.events import frame
from gateway.protocol.resources import WindowUse
from gateway.routes.event_stream import error_chunk, event_stream, server_sent_events
from gateway.turn.state_machine import Created, Failed
from tests.gateway.builders import turn


async def source(*frames: str) -> AsyncIterator[str]:
    for text in frames:
        yield text


async def sent(*frames: str) -> list[str]:
    return [text async for text in server_sent_events(source(*frames))]


async def test_each_event_is_one_chunk_that_starts_with_its_type() -> None:
    turn_ = turn()
    steps = (Created(), WindowUse(0, 1, 2), TextDelta('line\r\n\u2028"type":"x"'), Failed(EngineFailed("x")))
    frames = [frame(event) for step in steps for event in turn_.step(step)]
    *events, end = await sent(*frames)
    assert end == "data: [DONE]\n\n"
    for text, piece in zip(frames, events, strict=True):
        kind, data, *rest = piece.split("\n")
        assert kind == f"event: {json.loads(text)['type']}"
        assert data == f"data: {text}"
        assert rest == ["", ""]
        assert "\r" not in piece


async def test_a_stream_without_events_is_only_the_done_marker() -> None:
    assert await sent() == ["data: [DONE]\n\n"]


def test_an_error_chunk_has_no_type_and_ends_the_stream() -> None:
    data, done, end = error_chunk(EngineFailed("broken")).decode().split("\n\n")
    assert json.loads(data.removeprefix("data: "))["error"]["message"] == "broken"
    assert (done, end) == ("data: [DONE]", "")


async def test_proxies_may_neither_cache_nor_buffer_the_stream() -> None:
    response = event_stream(source('{"type":"x"}'))
    assert response.media_type == "text/event-stream"
    assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-cache", "no")
    assert [piece async for piece in response.body_iterator] == [
        'event: x\ndata: {"type":"x"}\n\n',
        "data: [DONE]\n\n",
    ]


async def test_a_client_that_disconnects_before_the_first_chunk_is_noticed() -> None:
    closed: list[str] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        await asyncio.Event().wait()  # the client reads nothing

    await event_stream(source("never sent"), on_close=lambda: closed.append("closed"))({"type": "http"}, receive, send)
    assert closed == ["closed"]
