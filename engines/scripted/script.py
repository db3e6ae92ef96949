"""What one request is told to do: its text, its speed and its faults. None means: not said."""

from dataclasses import dataclass, fields, replace
from typing import Literal, TypeAlias

from engines.scripted.template import Call

Inside: TypeAlias = Literal["line", "char", "gap"]
By: TypeAlias = Literal["close", "reset", "end"]


@dataclass(frozen=True, slots=True)
class Stall:
    after: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    after: int
    inside: Inside = "line"
    by: By = "close"


@dataclass(frozen=True, slots=True)
class Failure:
    """The engine's own error in the middle of an answer."""

    after: int


@dataclass(frozen=True, slots=True)
class Script:
    answer: str | None = None
    tokens: int | None = None
    text: str | None = None
    # A call without arguments gets the least that its tool's schema allows.
    call: tuple[Call, ...] | None = None
    reasoning: str | None = None
    pace: float | None = None
    first: float | None = None
    hold: float | None = None
    stall: tuple[Stall, ...] | None = None
    cut: Cut | None = None
    error: Failure | None = None
    status: int | None = None
    # Only in a posted script.
    refuse: bool | None = None
    times: int | None = None
    on: Literal["generate", "all"] | None = None

    def overridden_by(self, other: "Script") -> "Script":
        said = {name: value for name in NAMES if (value := getattr(other, name)) is not None}
        if _WORDS & said.keys():
            return replace(self, **{**dict.fromkeys(_WORDS), **said})
        return replace(self, **said)

    def continued(self) -> "Script":
        """Of an answer that has begun: it had its faults. Only what the engine breaks over it breaks over again."""
        error = None if self.error is None else Failure(0)
        return replace(self, hold=None, stall=None, cut=None, error=error, status=None, refuse=None)

    @property
    def faults(self) -> tuple[Stall | Cut | Failure, ...]:
        once = tuple(fault for fault in (self.cut, self.error) if fault is not None)
        return (*(self.stall or ()), *once)


# What is said belongs together: one of them said anew silences the others.
_WORDS = frozenset({"answer", "tokens", "text", "call", "reasoning"})
NAMES = tuple(field.name for field in fields(Script))
POSTED_ONLY = frozenset({"refuse", "times", "on"})
