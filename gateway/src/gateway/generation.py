"""What passes between a turn and the engine that runs it."""

from dataclasses import dataclass
from typing import Literal

from gateway.protocol.resources import Usage


@dataclass(frozen=True, slots=True)
class Sampling:
    """Generation parameters as the engine gets them; `max_output_tokens` is further bounded by the window.
    None leaves it to the engine."""

    temperature: float
    top_p: float
    repetition_penalty: float
    max_output_tokens: int | None


@dataclass(frozen=True, slots=True)
class PromptRead:
    """The engine has read the prompt: its token ids, from which an answer can be continued."""

    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one chunk brought. `text` is empty while a character's bytes are incomplete."""

    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    reason: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Used:
    usage: Usage


EngineEvent = PromptRead | Tokens | Finished | Used
