"""What passes between a turn and the engine that runs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.protocol.resources import Usage
from gateway.protocol.tools import FunctionTool, PlainText, TextFormat, ToolChoice

_PLAIN_TEXT = PlainText()

PromptRole = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class PromptToolCall:
    """A function the model has called, as it is told of it again."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message as the engine gets it; a `tool` message answers the call `call_id`."""

    role: PromptRole
    text: str
    calls: tuple[PromptToolCall, ...] = ()
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """Generation parameters as the engine gets them; `max_output_tokens` is further bounded by the window.
    None leaves it to the engine."""

    temperature: float
    top_p: float
    repetition_penalty: float
    max_output_tokens: int | None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What is asked of the answer's form."""

    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    format: TextFormat = _PLAIN_TEXT
    reasoning_effort: str | None = None

    @property
    def is_plain(self) -> bool:
        """Nothing that an engine would have to parse, or to hold to a grammar."""
        return not self.tools and isinstance(self.format, PlainText)


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """The engine has read the prompt: its token ids, from which an answer can be continued."""

    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """What one chunk brought. `text` is empty while a character's bytes are incomplete."""

    text: str
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningTextDelta:
    """Reasoning in front of the answer, from engines that tell the two apart."""

    text: str
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of the call number `index`; the first one names the function."""

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


EngineEvent = PromptTokens | TextDelta | ReasoningTextDelta | ToolCallDelta | Finished | UsageReport
OutputDelta = TextDelta | ReasoningTextDelta | ToolCallDelta


def size_of(piece: OutputDelta) -> int:
    """Bytes of what it says."""
    return len((piece.arguments if isinstance(piece, ToolCallDelta) else piece.text).encode("utf-8", "surrogatepass"))


def merged(pieces: Sequence[OutputDelta]) -> list[OutputDelta]:
    """Neighbours of one kind joined: what gathered while the log was busy becomes one event."""
    joined: list[OutputDelta] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        match last, piece:
            case TextDelta(), TextDelta():
                joined[-1] = TextDelta(last.text + piece.text, last.token_ids + piece.token_ids)
            case ReasoningTextDelta(), ReasoningTextDelta():
                joined[-1] = ReasoningTextDelta(last.text + piece.text, last.token_ids + piece.token_ids)
            case ToolCallDelta(), ToolCallDelta(name=None) if last.index == piece.index:
                arguments, ids = last.arguments + piece.arguments, last.token_ids + piece.token_ids
                joined[-1] = ToolCallDelta(last.index, arguments, last.name, ids)
            case _:
                joined.append(piece)
    return joined
