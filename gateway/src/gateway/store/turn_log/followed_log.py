"""The log of a turn that runs on another gateway, as far as this process has read it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.store.keys import segment_key
from gateway.turn.event_buffer import EventBuffer
from gateway.turn.log_entry import Fields, decode_frame, fenced_by, is_terminal

_BEGINNING = b"0-0"


@dataclass(slots=True)
class FollowedLog:
    """All followers in this process share it. `last_id` belongs to the newest `segment`; `missed_count` is the number
    of checks in a row that did not find the log."""

    user_id: str
    response_id: str
    events: EventBuffer = field(default_factory=EventBuffer)
    segment: int = 0
    last_id: bytes = _BEGINNING
    follower_count: int = 0
    missed_count: int = 0

    @property
    def key(self) -> str:
        return segment_key(self.user_id, self.response_id, self.segment)

    @property
    def existing_key(self) -> str:
        """After a takeover the newest segment may stay empty for long, but the one before has its fence."""
        return segment_key(self.user_id, self.response_id, max(self.segment - 1, 0))

    def append(self, entries: Sequence[tuple[bytes, Fields]]) -> None:
        for entry_id, fields in entries:
            self.last_id = entry_id
            if fenced_by(fields) is not None:
                self.segment, self.last_id = self.segment + 1, _BEGINNING
                return
            self.events.append([decode_frame(entry_id, fields)], ended=is_terminal(fields))

    def record_check(self, *, exists: bool) -> None:
        """A log that is missing twice in a row was deleted before its end was read."""
        self.missed_count = 0 if exists else self.missed_count + 1
        if self.missed_count > 1:
            self.events.close(moved=True)
