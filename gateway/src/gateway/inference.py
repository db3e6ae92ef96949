"""What passes between a turn and an engine: the call, and the events of the completion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from gateway.protocol.resources import Usage
from gateway.protocol.tools import FunctionTool, PlainText, TextFormat, ToolChoice

_PLAIN_TEXT = PlainText()

PromptRole = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class PromptToolCall:
    """A function call of the model, as part of a later prompt."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of the prompt; a `tool` message answers the call `call_id`."""

    role: PromptRole
    text: str
    calls: tuple[PromptToolCall, ...] = ()
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """Generation parameters as the engine gets them. `max_output_tokens` is bounded further by the context window; None
    leaves it to the engine."""

    temperature: float
    top_p: float
    repetition_penalty: float
    max_output_tokens: int | None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """The requested form of the output: tools, a schema, reasoning."""

    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    format: TextFormat = _PLAIN_TEXT
    reasoning_effort: str | None = None

    @property
    def is_plain(self) -> bool:
        """Without anything that an engine has to parse or to constrain by a grammar."""
        return not self.tools and isinstance(self.format, PlainText)


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """The token ids of the rendered prompt, from which an answer can be continued. Sent once, before the output."""

    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The text of one chunk, empty while the bytes of a character are incomplete."""

    text: str
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningTextDelta:
    """Reasoning before the answer, from engines that separate the two."""

    text: str
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A part of function call number `index`; the first part names the function."""

    index: int
    arguments: str
    name: str | None = None
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    reason: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class UsageReport:
    usage: Usage


@dataclass(frozen=True, slots=True)
class EngineCall:
    """One completion. With `token_ids` (of the prompt and of the output so far) the engine continues behind them
    instead of rendering `prompt`. Calls with the same `affinity` share a prefix, so they prefer the same engine."""

    prompt: tuple[PromptMessage, ...]
    sampling: Sampling
    options: OutputOptions
    user_id: str
    request_id: str
    affinity: str
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """The engine's own count of a rendered prompt and its token ids. `limit`: the model's whole context, in tokens."""

    count: int
    limit: int
    ids: tuple[int, ...] = ()


class ServedModel(msgspec.Struct, frozen=True):
    """A model as the engine lists it. `max_model_len`: its context, in tokens."""

    id: str
    created: int = 0
    max_model_len: int | None = None


EngineEvent = PromptTokens | TextDelta | ReasoningTextDelta | ToolCallDelta | Finished | UsageReport
OutputDelta = TextDelta | ReasoningTextDelta | ToolCallDelta


def size_bytes(delta: OutputDelta) -> int:
    """Of its text or arguments, in UTF-8."""
    return len((delta.arguments if isinstance(delta, ToolCallDelta) else delta.text).encode("utf-8", "surrogatepass"))


def merge_adjacent(deltas: Sequence[OutputDelta]) -> list[OutputDelta]:
    """Joins neighbours of one kind: what gathered while the log was busy becomes one event."""
    merged: list[OutputDelta] = []
    for delta in deltas:
        last = merged[-1] if merged else None
        match last, delta:
            case TextDelta(), TextDelta():
                merged[-1] = TextDelta(last.text + delta.text, last.token_ids + delta.token_ids)
            case ReasoningTextDelta(), ReasoningTextDelta():
                merged[-1] = ReasoningTextDelta(last.text + delta.text, last.token_ids + delta.token_ids)
            case ToolCallDelta(), ToolCallDelta(name=None) if last.index == delta.index:
                arguments, ids = last.arguments + delta.arguments, last.token_ids + delta.token_ids
                merged[-1] = ToolCallDelta(last.index, arguments, last.name, ids)
            case _:
                merged.append(delta)
    return merged
