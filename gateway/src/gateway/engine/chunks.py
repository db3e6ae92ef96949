"""A streamed completion: lines of bytes go in, events of the engine come out."""

from collections.abc import AsyncIterator
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


class _Call(msgspec.Struct):
    index: int = 0
    function: _Function | None = None


class _Delta(msgspec.Struct, frozen=True):
    """With a parser for tools or reasoning in front of it the engine leaves out what a chunk does not have."""

    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


_NOTHING = _Delta()


class _Choice(msgspec.Struct):
    """`text` where a prompt of token ids is completed, `delta` in a chat."""

    delta: _Delta = _NOTHING
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

# A vLLM that is told to leave ends its streams with `abort`, like any other end: the answer is not complete.
_NO_ENDS = frozenset({"abort", "error"})


async def server_sent(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each server-sent event; one network read may hold many, or half of one."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def engine_events(data: bytes) -> list[EngineEvent]:
    """Raises EngineRefused, EngineCrashed or Unavailable when the chunk says so, msgspec.DecodeError when it is no
    chunk."""
    chunk = _decode(data)
    if chunk.error is not None:
        if chunk.error.code == 400:  # a stream has its status before the engine has read the schema it is asked for
            raise EngineRefused(chunk.error.message)
        raise EngineCrashed("the model server failed in the middle of an answer")
    events: list[EngineEvent] = []
    if chunk.prompt_token_ids is not None:
        events.append(PromptTokens(chunk.prompt_token_ids))
    for choice in chunk.choices[:1]:
        if choice.finish_reason in _NO_ENDS:
            raise Unavailable("vllm")
        events += _pieces(choice)
        if choice.finish_reason is not None:
            events.append(Finished("length" if choice.finish_reason == "length" else "stop"))
    if chunk.usage is not None:
        events.append(UsageReport(usage(chunk.usage)))
    return events


def _pieces(choice: _Choice) -> list[EngineEvent]:
    """The token ids of a chunk go with its first piece: which of them made which is not told."""
    delta, ids = choice.delta, choice.token_ids or ()
    if choice.text is not None:
        return [TextDelta(choice.text, ids)] if choice.text or ids else []
    if not delta.reasoning and not delta.tool_calls:
        return [TextDelta(delta.content or "", ids)] if delta.content or ids else []
    pieces: list[EngineEvent] = []
    if delta.reasoning:
        pieces.append(ReasoningTextDelta(delta.reasoning, ids))
        ids = ()
    if delta.content:
        pieces.append(TextDelta(delta.content, ids))
        ids = ()
    for call in delta.tool_calls or ():
        function = call.function or _Function()
        pieces.append(ToolCallDelta(call.index, function.arguments or "", function.name, ids))
        ids = ()
    return pieces


def usage(used: EngineUsage) -> Usage:
    completion = used.completion_tokens or 0
    cached = used.prompt_tokens_details.cached_tokens if used.prompt_tokens_details else None
    reasoned = used.completion_tokens_details.reasoning_tokens if used.completion_tokens_details else None
    return Usage(
        used.prompt_tokens,
        completion,
        used.prompt_tokens + completion,
        InputTokensDetails(cached or 0),
        OutputTokensDetails(reasoned or 0),
    )
