import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.chunks import engine_events, server_sent
from gateway.errors import EngineFailed, EngineRefused, Unavailable
from gateway.inference import (
    EngineEvent,
    Finished,
    PromptTokens,
    ReasoningTextDelta,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from gateway.protocol.resources import InputTokensDetails, OutputTokensDetails, Usage


def read(**chunk: Any) -> list[EngineEvent]:
    return engine_events(json.dumps(chunk).encode())


def delta(*, finish_reason: str | None = None, token_ids: list[int] | None = None, **fields: Any) -> list[EngineEvent]:
    return read(choices=[{"index": 0, "delta": fields, "finish_reason": finish_reason, "token_ids": token_ids}])


def call(index: int = 0, **function: Any) -> dict[str, Any]:
    return {"index": index, "id": "chatcmpl-tool-1", "type": "function", "function": function}


async def network(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@given(st.lists(st.text("ab你:", max_size=6), max_size=8), st.lists(st.integers(0, 200), max_size=10), st.booleans())
async def test_events_come_whole_however_the_network_cuts_them(texts: list[str], cuts: list[int], crlf: bool) -> None:
    end = "\r\n" if crlf else "\n"
    stream = "".join(f": ping{end}{end}event: x{end}data: {text}{end}{end}" for text in texts).encode()
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[start:stop] for start, stop in pairwise(places)]
    assert [data async for data in server_sent(network(pieces))] == [text.strip().encode() for text in texts]


def test_text_comes_with_its_token_ids() -> None:
    assert delta(content="hi", token_ids=[1, 2]) == [TextDelta("hi", (1, 2))]
    assert delta(content="hi") == [TextDelta("hi")]


def test_bytes_of_a_character_that_is_not_complete_are_told_by_their_ids() -> None:
    assert delta(content="", token_ids=[1]) == [TextDelta("", (1,))]


def test_a_chunk_that_says_nothing_is_nothing() -> None:
    assert delta(role="assistant", content="") == delta(content=None, token_ids=[]) == delta() == []


def test_the_first_chunk_tells_what_the_engine_has_read() -> None:
    choice = {"delta": {"role": "assistant", "content": ""}}
    assert read(choices=[choice], prompt_token_ids=[5, 6]) == [PromptTokens((5, 6))]


def test_reasoning_is_told_apart_from_text() -> None:
    assert delta(reasoning="hm", token_ids=[1]) == [ReasoningTextDelta("hm", (1,))]
    assert delta(reasoning="hm", content="so", token_ids=[1, 2]) == [ReasoningTextDelta("hm", (1, 2)), TextDelta("so")]


def test_calls_are_told_apart_by_their_number() -> None:
    assert delta(tool_calls=[call(name="add", arguments="")], token_ids=[1]) == [ToolCallDelta(0, "", "add", (1,))]
    assert delta(tool_calls=[call(arguments='{"a"')]) == [ToolCallDelta(0, '{"a"')]
    both = delta(content="so", tool_calls=[call(0, name="add", arguments="{}"), call(1, name="sub", arguments="{}")])
    assert both == [TextDelta("so"), ToolCallDelta(0, "{}", "add"), ToolCallDelta(1, "{}", "sub")]


def test_a_call_of_which_nothing_is_said_is_an_empty_piece() -> None:
    assert delta(tool_calls=[{"index": 1}]) == [ToolCallDelta(1, "")]


def test_a_completion_of_token_ids_is_text_too() -> None:
    assert read(choices=[{"index": 0, "text": "hi", "token_ids": [1]}]) == [TextDelta("hi", (1,))]
    assert read(choices=[{"index": 0, "text": ""}]) == []
    last = read(choices=[{"index": 0, "text": "!", "token_ids": [2], "finish_reason": "stop"}])
    assert last == [TextDelta("!", (2,)), Finished("stop")]


@pytest.mark.parametrize(("reason", "told"), [("stop", "stop"), ("length", "length"), ("tool_calls", "stop")])
def test_the_reason_of_the_end_is_told(reason: str, told: str) -> None:
    (_, finished) = delta(content=".", finish_reason=reason)
    assert isinstance(finished, Finished)
    assert finished.reason == told


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_engine_that_breaks_off_in_good_order_is_one_that_went_away(reason: str) -> None:
    with pytest.raises(Unavailable):
        delta(content="half a sen", finish_reason=reason)


def test_usage_is_told_with_its_details() -> None:
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert read(choices=[], usage=usage) == [
        UsageReport(Usage(7, 3, 10, InputTokensDetails(4), OutputTokensDetails(2)))
    ]


@pytest.mark.parametrize(
    "more", [{}, {"prompt_tokens_details": None}, {"prompt_tokens_details": {"cached_tokens": None}}]
)
def test_usage_without_details_has_zeros(more: dict[str, Any]) -> None:
    assert read(usage={"prompt_tokens": 7, "completion_tokens": None, **more}) == [UsageReport(Usage(7, 0, 7))]


def test_an_error_in_the_middle_is_a_failure_of_the_engine_without_its_words() -> None:
    with pytest.raises(EngineFailed) as caught:
        read(error={"message": "CUDA out of memory at 0x7f", "code": 500})
    assert "CUDA" not in caught.value.message


def test_what_the_engine_refuses_after_its_headers_is_refused_with_its_reason() -> None:
    with pytest.raises(EngineRefused, match="no grammar"):
        read(error={"message": "no grammar for this", "type": "BadRequestError", "code": 400})


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"choices":5}', b'{"choices":[{"delta":{"content":5}}]}'])
def test_what_is_no_chunk_is_not_taken_for_one(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        engine_events(data)
