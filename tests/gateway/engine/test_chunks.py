import json
from typing import Any

import msgspec
import pytest

from gateway.engine.chunks import parse_chunk
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
    return parse_chunk(json.dumps(chunk).encode())


def delta(*, finish_reason: str | None = None, token_ids: list[int] | None = None, **fields: Any) -> list[EngineEvent]:
    return read(choices=[{"index": 0, "delta": fields, "finish_reason": finish_reason, "token_ids": token_ids}])


def call(index: int = 0, **function: Any) -> dict[str, Any]:
    return {"index": index, "id": "chatcmpl-tool-1", "type": "function", "function": function}


def test_text_has_its_token_ids() -> None:
    assert delta(content="hi", token_ids=[1, 2]) == [TextDelta("hi", (1, 2))]
    assert delta(content="hi") == [TextDelta("hi")]


def test_the_bytes_of_an_incomplete_character_are_an_empty_delta_with_ids() -> None:
    assert delta(content="", token_ids=[1]) == [TextDelta("", (1,))]


def test_an_empty_chunk_yields_no_event() -> None:
    assert delta(role="assistant", content="") == delta(content=None, token_ids=[]) == delta() == []


def test_the_first_chunk_has_the_token_ids_of_the_prompt() -> None:
    choice = {"delta": {"role": "assistant", "content": ""}}
    assert read(choices=[choice], prompt_token_ids=[5, 6]) == [PromptTokens((5, 6))]


def test_reasoning_is_separate_from_text() -> None:
    assert delta(reasoning="hm", token_ids=[1]) == [ReasoningTextDelta("hm", (1,))]
    assert delta(reasoning="hm", content="so", token_ids=[1, 2]) == [ReasoningTextDelta("hm", (1, 2)), TextDelta("so")]


def test_tool_calls_are_distinguished_by_index() -> None:
    assert delta(tool_calls=[call(name="add", arguments="")], token_ids=[1]) == [ToolCallDelta(0, "", "add", (1,))]
    assert delta(tool_calls=[call(arguments='{"a"')]) == [ToolCallDelta(0, '{"a"')]
    both = delta(content="so", tool_calls=[call(0, name="add", arguments="{}"), call(1, name="sub", arguments="{}")])
    assert both == [TextDelta("so"), ToolCallDelta(0, "{}", "add"), ToolCallDelta(1, "{}", "sub")]


def test_a_tool_call_without_a_function_is_an_empty_delta() -> None:
    assert delta(tool_calls=[{"index": 1}]) == [ToolCallDelta(1, "")]


def test_a_completion_of_token_ids_yields_text() -> None:
    assert read(choices=[{"index": 0, "text": "hi", "token_ids": [1]}]) == [TextDelta("hi", (1,))]
    assert read(choices=[{"index": 0, "text": ""}]) == []
    last = read(choices=[{"index": 0, "text": "!", "token_ids": [2], "finish_reason": "stop"}])
    assert last == [TextDelta("!", (2,)), Finished("stop")]


@pytest.mark.parametrize(("reason", "reported"), [("stop", "stop"), ("length", "length"), ("tool_calls", "stop")])
def test_the_finish_reason_is_stop_or_length(reason: str, reported: str) -> None:
    (_, finished) = delta(content=".", finish_reason=reason)
    assert isinstance(finished, Finished)
    assert finished.reason == reported


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_aborted_stream_counts_as_an_unavailable_engine(reason: str) -> None:
    with pytest.raises(Unavailable):
        delta(content="half a sen", finish_reason=reason)


def test_usage_includes_its_details() -> None:
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
def test_missing_usage_details_are_zero(more: dict[str, Any]) -> None:
    assert read(usage={"prompt_tokens": 7, "completion_tokens": None, **more}) == [UsageReport(Usage(7, 0, 7))]


def test_an_error_chunk_is_an_engine_failure_without_the_engines_message() -> None:
    with pytest.raises(EngineFailed) as caught:
        read(error={"message": "CUDA out of memory at 0x7f", "code": 500})
    assert "CUDA" not in caught.value.message


def test_a_refusal_after_the_headers_has_the_engines_reason() -> None:
    with pytest.raises(EngineRefused, match="no grammar"):
        read(error={"message": "no grammar for this", "type": "BadRequestError", "code": 400})


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"choices":5}', b'{"choices":[{"delta":{"content":5}}]}'])
def test_data_that_is_not_a_chunk_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        parse_chunk(data)
