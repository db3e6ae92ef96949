"""The log of a turn that runs on another gateway, as far as this process has read it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.store.keys import segment_key
from gateway.turn.event_buffer import EventBuffer
from gateway.turn.log_entry import StoredEntry, decode_frame, fenced_by, is_terminal, number_of

_BEGINNING = b"0-0"


@dataclass(slots=True)
class FollowedLog:
    """All followers in this process share it. `last_id` belongs to the newest `segment`; `missed_count` is the number
    of checks in a row that did not find the log, or found a hole that its owner has not repaired."""

    user_id: str
    response_id: str
    events: EventBuffer = field(default_factory=EventBuffer)
    segment: int = 0
    last_id: bytes = _BEGINNING
    follower_count: int = 0
    missed_count: int = 0
    has_hole: bool = False

    @property
    def key(self) -> str:
        return segment_key(self.user_id, self.response_id, self.segment)

    @property
    def existing_key(self) -> str:
        """After a takeover the newest segment may stay empty for long, but the one before has its fence."""
        return segment_key(self.user_id, self.response_id, max(self.segment - 1, 0))

    def append(self, entries: Sequence[StoredEntry]) -> None:
        for entry in entries:
            self.last_id, fields = entry
            if fenced_by(fields) is not None:
                self.segment, self.last_id, self.has_hole = self.segment + 1, _BEGINNING, False
                return
            self._append_event(entry)

    def _append_event(self, entry: StoredEntry) -> None:
        """An event behind a hole is not shown: after a fence, the next segment continues before the hole. There, events
        that were shown may come again; if they differ, Redis has lost what was shown."""
        number, frames = number_of(entry[0]), self.events.frames
        if number > len(frames):
            self.has_hole = True
        elif number == len(frames):
            self.events.append([decode_frame(*entry)], ended=is_terminal(entry[1]))
        elif decode_frame(*entry) != frames[number]:
            self.events.close_lost()

    def read_again(self) -> None:
        """Redis may have lost the end of what was read: what it has now must begin with the last event, and where there
        was a takeover, whose fence may be lost too, with all events."""
        if self.segment:
            self.segment, self.last_id, self.has_hole = 0, _BEGINNING, False
        elif self.last_id != _BEGINNING:
            self.last_id = b"%d-0" % max(0, len(self.events) - 1)

    def record_check(self, *, exists: bool) -> None:
        """A log that is missing twice in a row was deleted before its end was read."""
        is_good = exists and not self.has_hole
        self.missed_count = 0 if is_good else self.missed_count + 1
        if self.missed_count > 1 and self.has_hole:
            self.events.close_lost()
        elif self.missed_count > 1:
            self.events.close_moved()
