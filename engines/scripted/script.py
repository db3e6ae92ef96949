"""How one request is answered: its text, its speed and its faults. None means unset."""

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
    """An error of the engine in the middle of an answer."""

    after: int


@dataclass(frozen=True, slots=True)
class Script:
    answer: str | None = None
    tokens: int | None = None
    text: str | None = None
    # A call without arguments gets the minimal instance of its tool's schema.
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
        changes = {name: value for name in NAMES if (value := getattr(other, name)) is not None}
        if _CONTENT_FIELDS & changes.keys():
            return replace(self, **{**dict.fromkeys(_CONTENT_FIELDS), **changes})
        return replace(self, **changes)

    def for_continuation(self) -> "Script":
        """For an answer that has begun: its faults have already happened, except an error, which happens again."""
        error = None if self.error is None else Failure(0)
        return replace(self, hold=None, stall=None, cut=None, error=error, status=None, refuse=None)

    @property
    def faults(self) -> tuple[Stall | Cut | Failure, ...]:
        once = tuple(fault for fault in (self.cut, self.error) if fault is not None)
        return (*(self.stall or ()), *once)


# The content fields belong together: setting one of them resets the others.
_CONTENT_FIELDS = frozenset({"answer", "tokens", "text", "call", "reasoning"})
NAMES = tuple(field.name for field in fields(Script))
POSTED_ONLY = frozenset({"refuse", "times", "on"})
