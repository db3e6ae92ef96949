"""What passes between a turn and the engine that runs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.protocol.resources import Usage
from gateway.protocol.tools import FunctionTool, PlainText, TextFormat, ToolChoice

_PLAIN_TEXT = PlainText()

PromptRole = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class PromptCall:
    """A function the model has called, as it is told of it again."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One message as the engine gets it; a `tool` message answers the call `call_id`."""

    role: PromptRole
    text: str
    calls: tuple[PromptCall, ...] = ()
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
class Form:
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
class PromptRead:
    """The engine has read the prompt: its token ids, from which an answer can be continued."""

    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one chunk brought. `text` is empty while a character's bytes are incomplete."""

    text: str
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Thought:
    """Reasoning in front of the answer, from engines that tell the two apart."""

    text: str
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Called:
    """A piece of the call number `index`; the first one names the function."""

    index: int
    arguments: str
    name: str | None = None
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    reason: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Used:
    usage: Usage


EngineEvent = PromptRead | Tokens | Thought | Called | Finished | Used
Piece = Tokens | Thought | Called


def size_of(piece: Piece) -> int:
    """Bytes of what it says."""
    return len((piece.arguments if isinstance(piece, Called) else piece.text).encode("utf-8", "surrogatepass"))


def merged(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbours of one kind joined: what gathered while the log was busy becomes one event."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        match last, piece:
            case Tokens(), Tokens():
                joined[-1] = Tokens(last.text + piece.text, last.token_ids + piece.token_ids)
            case Thought(), Thought():
                joined[-1] = Thought(last.text + piece.text, last.token_ids + piece.token_ids)
            case Called(), Called(name=None) if last.index == piece.index:
                arguments, ids = last.arguments + piece.arguments, last.token_ids + piece.token_ids
                joined[-1] = Called(last.index, arguments, last.name, ids)
            case _:
                joined.append(piece)
    return joined
