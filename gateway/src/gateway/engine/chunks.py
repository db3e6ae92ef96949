"""The chunks of a streamed completion, decoded into engine events."""

from typing import Any

import msgspec

from gateway.errors import EngineCrashed, EngineRefused, Unavailable
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


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int = 0
    function: _Function | None = None


class _Delta(msgspec.Struct, frozen=True):
    """With a tool or reasoning parser enabled, the engine omits the fields that a chunk does not have."""

    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


_EMPTY_DELTA = _Delta()


class _Choice(msgspec.Struct):
    """`text` in a completion of token ids, `delta` in a chat completion."""

    delta: _Delta = _EMPTY_DELTA
    text: str | None = None
    finish_reason: str | None = None
    token_ids: tuple[int, ...] | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class EngineUsage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Error(msgspec.Struct):
    message: str = ""
    code: Any = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: EngineUsage | None = None
    prompt_token_ids: tuple[int, ...] | None = None
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Chunk).decode

# On shutdown vLLM ends its streams with `abort`, as it ends complete ones: the answer is incomplete.
_INCOMPLETE_REASONS = frozenset({"abort", "error"})


def parse_chunk(data: bytes) -> list[EngineEvent]:
    """Raises EngineRefused, EngineCrashed or Unavailable for a failure that the chunk reports, and
    msgspec.DecodeError for anything that is not a chunk."""
    chunk = _decode(data)
    if chunk.error is not None:
        if chunk.error.code == 400:  # the engine sends the status of a stream before it compiles the schema
            raise EngineRefused(chunk.error.message)
        raise EngineCrashed("the model server failed in the middle of an answer")
    events: list[EngineEvent] = []
    if chunk.prompt_token_ids is not None:
        events.append(PromptTokens(chunk.prompt_token_ids))
    for choice in chunk.choices[:1]:
        if choice.finish_reason in _INCOMPLETE_REASONS:
            raise Unavailable("vllm")
        events += _deltas(choice)
        if choice.finish_reason is not None:
            events.append(Finished("length" if choice.finish_reason == "length" else "stop"))
    if chunk.usage is not None:
        events.append(UsageReport(to_usage(chunk.usage)))
    return events


def _deltas(choice: _Choice) -> list[EngineEvent]:
    """The first delta gets all token ids of the chunk, which does not say which delta they belong to."""
    delta, ids = choice.delta, choice.token_ids or ()
    if choice.text is not None:
        return [TextDelta(choice.text, ids)] if choice.text or ids else []
    if not delta.reasoning and not delta.tool_calls:
        return [TextDelta(delta.content or "", ids)] if delta.content or ids else []
    deltas: list[EngineEvent] = []
    if delta.reasoning:
        deltas.append(ReasoningTextDelta(delta.reasoning, ids))
        ids = ()
    if delta.content:
        deltas.append(TextDelta(delta.content, ids))
        ids = ()
    for call in delta.tool_calls or ():
        function = call.function or _Function()
        deltas.append(ToolCallDelta(call.index, function.arguments or "", function.name, ids))
        ids = ()
    return deltas


def to_usage(usage: EngineUsage) -> Usage:
    completion = usage.completion_tokens or 0
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
    reasoning = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else None
    return Usage(
        usage.prompt_tokens,
        completion,
        usage.prompt_tokens + completion,
        InputTokensDetails(cached or 0),
        OutputTokensDetails(reasoning or 0),
    )
