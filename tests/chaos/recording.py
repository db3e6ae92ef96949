"""Every frame that one follower of an answer received, with its time."""

import json
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


@dataclass(frozen=True, slots=True)
class Frame:
    """`at` is in seconds on a monotonic clock."""

    at: float
    raw: str
    event: dict[str, Any]

    @property
    def number(self) -> int:
        return int(self.event["sequence_number"])

    @property
    def is_terminal(self) -> bool:
        return self.event["type"] in _TERMINAL


@dataclass(slots=True)
class Recording:
    """`refusals`: the errors instead of an answer, as `status code`. Not `verbatim`: a library has parsed and
    re-encoded the frames."""

    follower: str
    verbatim: bool = True
    frames: list[Frame] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    connections: int = 0

    def add(self, raw: str) -> Frame:
        frame = Frame(time.monotonic(), raw, json.loads(raw))
        self.frames.append(frame)
        return frame

    @property
    def has_ended(self) -> bool:
        return bool(self.frames) and self.frames[-1].is_terminal

    @property
    def response_id(self) -> str | None:
        """Once the question is accepted."""
        return str(self.frames[0].event["response"]["id"]) if self.frames else None

    @property
    def last_number(self) -> int:
        return self.frames[-1].number if self.frames else -1

    @property
    def text(self) -> str:
        """As a page shows it."""
        return "".join(
            frame.event["delta"] for frame in self.frames if frame.event["type"] == "response.output_text.delta"
        )

    @property
    def longest_pause(self) -> float:
        """The longest time between two events, in seconds."""
        return max((later.at - earlier.at for earlier, later in pairwise(self.frames)), default=0.0)
