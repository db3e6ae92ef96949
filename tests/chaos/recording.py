"""Every frame that one follower of an answer saw, with its time."""

import json
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


@dataclass(frozen=True, slots=True)
class Frame:
    """`at` is in seconds on a clock that only goes forward."""

    at: float
    raw: str
    event: dict[str, Any]

    @property
    def number(self) -> int:
        return int(self.event["sequence_number"])

    @property
    def ends(self) -> bool:
        return self.event["type"] in _TERMINAL


@dataclass(slots=True)
class Recording:
    """`refusals`: what it was told instead of an answer, as `status code`. Not `verbatim`: its frames are what a
    library has made of them."""

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
    def ended(self) -> bool:
        return bool(self.frames) and self.frames[-1].ends

    @property
    def response_id(self) -> str | None:
        """As soon as it is accepted."""
        return str(self.frames[0].event["response"]["id"]) if self.frames else None

    @property
    def last_number(self) -> int:
        return self.frames[-1].number if self.frames else -1

    @property
    def text(self) -> str:
        """What a page shows."""
        return "".join(
            frame.event["delta"] for frame in self.frames if frame.event["type"] == "response.output_text.delta"
        )

    @property
    def longest_pause(self) -> float:
        """Seconds without any event, from the first to the last."""
        return max((later.at - earlier.at for earlier, later in pairwise(self.frames)), default=0.0)
