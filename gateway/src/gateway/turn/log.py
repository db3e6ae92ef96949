"""One turn's events on their way: steps go in, and frames come out once they are stored.

Deltas stay unrendered until the writer drains the log. What gathers during one round trip to Redis is merged and only
then numbered, so a busy server writes a few events per second and turn, and `sequence_number` has no gap.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum, auto

from gateway.errors import InternalError, ParleyError
from gateway.inference import OutputDelta, ReasoningTextDelta, TextDelta, ToolCallDelta, merge_adjacent
from gateway.protocol.events import Delta, Event
from gateway.turn.event_buffer import EventBuffer
from gateway.turn.log_entry import LogEntry, StoredEntry, decode_frames
from gateway.turn.published import PublishedEvents
from gateway.turn.records import NOTHING_REPLAYED, ReplayedEvents
from gateway.turn.state_machine import Ending, Failed, Step, Turn

logger = logging.getLogger(__name__)


class LogState(Enum):
    # The current segment has no entry yet.
    EMPTY = auto()
    GROWING = auto()
    # Another gateway has taken the turn over, or the response was deleted.
    FENCED_OFF = auto()


class TurnLog:
    def __init__(
        self, turn: Turn, wake: Callable[["TurnLog"], None], replayed: ReplayedEvents = NOTHING_REPLAYED
    ) -> None:
        """`wake` tells the writer that there is something to drain. `size` is the number of bytes stored so far."""
        self.turn = turn
        self._published = PublishedEvents(replayed.entries)
        self.size = sum(map(len, self._published.events.frames))
        self.segment = replayed.segment
        # Of the first event in the current segment.
        self.first_number = replayed.first_number
        self._state = LogState.GROWING if len(replayed.entries) > replayed.first_number else LogState.EMPTY
        self._wake = wake
        self._on_fenced_off: Callable[[], None] = lambda: None
        self._is_discarded = False
        self._deltas: list[OutputDelta] = []
        self._entries: list[LogEntry] = []
        self._token_ids: tuple[int, ...] = ()
        self._dropped_ids = 0
        self._prompt_tokens = 0
        self._finish_reason = ""
        self._fault: ParleyError | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def events(self) -> EventBuffer:
        return self._published.events

    @property
    def has_entries(self) -> bool:
        """Once true, a missing segment was deleted, or has expired: it is not created again, also once fenced off."""
        return self._state is not LogState.EMPTY

    @property
    def is_fenced_off(self) -> bool:
        return self._state is LogState.FENCED_OFF

    @property
    def is_discarded(self) -> bool:
        """The answer is in no history: its events expire as soon as followers have read them."""
        return self._is_discarded

    def on_fenced_off(self, callback: Callable[[], None]) -> None:
        self._on_fenced_off = callback

    def append(self, step: Step) -> None:
        """Raises the error that an earlier delta could not be rendered with."""
        if isinstance(step, TextDelta | ReasoningTextDelta | ToolCallDelta):
            if self._fault is not None:
                raise self._fault
            self._deltas.append(step)
        else:
            self._entries += [LogEntry(event) for event in self.turn.step(step)]
        self._changed()

    def record_prompt_tokens(self, count: int) -> None:
        """Stored with the next delta: a gateway that takes the turn over only to end it needs no engine."""
        self._prompt_tokens = count

    def record_finish_reason(self, reason: str) -> None:
        """Stored with the last delta, if known by then: a gateway that takes the turn over need not continue it."""
        self._finish_reason = reason

    def drop_token_ids(self, count: int) -> None:
        """The last `count` ids are void: the engine generates them again. Only deltas without text may wait by then."""
        waiting = self._token_ids + tuple(token_id for delta in self._deltas for token_id in delta.token_ids)
        self._deltas = []
        self._token_ids = waiting[: max(0, len(waiting) - count)]
        self._dropped_ids += max(0, count - len(waiting))

    async def wait_flushed(self) -> None:
        """Until everything appended so far is stored, or the log is fenced off. Raises as `append` does."""
        while not self._idle.is_set() and not self.is_fenced_off:
            await self._idle.wait()
        if self._fault is not None:
            raise self._fault

    def finish(self, ending: Ending) -> list[LogEntry]:
        """Renders the last events, to be passed to `append_entries` once the answer is in history."""
        deltas, self._deltas = self._deltas, []
        self._render(deltas)
        if self._fault is not None and not isinstance(ending, Failed):
            ending = Failed(self._fault)
        return [LogEntry(event) for event in self.turn.step(ending)]

    def append_entries(self, entries: Sequence[LogEntry]) -> None:
        self._entries += entries
        self._changed()

    def drain(self) -> list[LogEntry]:
        """Takes and renders what waits. Deltas without text at the end wait for one with text: a log never ends
        inside a character."""
        visible = len(self._deltas)
        while visible and _is_invisible(self._deltas[visible - 1]):
            visible -= 1
        deltas, self._deltas = self._deltas[:visible], self._deltas[visible:]
        self._render(deltas)
        entries, self._entries = self._entries, []
        if entries and isinstance(entries[-1].event, Delta):
            entries[-1] = replace(entries[-1], finish_reason=self._finish_reason)
        if self.turn.request.stored:
            self.size += sum(entry.size for entry in entries)
        return entries

    def mark_written(self) -> None:
        if self._state is LogState.EMPTY:
            self._state = LogState.GROWING

    def missing_from(self, stored: Sequence[StoredEntry], waiting: Sequence[LogEntry]) -> list[LogEntry] | None:
        """What Redis, which has `stored`, lacks of this log; None if it has anything else. `waiting` may include what
        was found missing before."""
        return self._published.missing_from(
            stored, [entry for entry in waiting if entry.event.sequence_number >= len(self.events)]
        )

    def agrees_with(self, stored: Sequence[StoredEntry]) -> bool:
        """Whether `stored`, which may end earlier or later, has the events that were shown."""
        return all(one == other for one, other in zip(self.events.frames, decode_frames(stored), strict=False))

    def begin_segment(self, segment: int, first_number: int) -> None:
        """The log continues there; the events before `first_number` are in the segments before."""
        self.segment, self.first_number = segment, first_number
        if self._state is LogState.GROWING:
            self._state = LogState.EMPTY

    def publish(self, entries: Sequence[LogEntry]) -> None:
        """Shows stored entries to the followers on this gateway."""
        if entries and not self.is_fenced_off:
            self._published.publish(entries)
        if not self._entries and all(_is_invisible(delta) for delta in self._deltas):
            self._idle.set()

    def discard_after_delivery(self) -> None:
        self._is_discarded = True

    def fence_off(self, *, lost: bool = False) -> None:
        """`lost`: what Redis has of the log differs from what was shown."""
        self._state = LogState.FENCED_OFF
        self._idle.set()
        if lost:
            self.events.close_lost()
        else:
            self.events.close_moved()
        self._on_fenced_off()

    def _changed(self) -> None:
        self._idle.clear()
        if not self.is_fenced_off:
            self._wake(self)

    def _render(self, deltas: Sequence[OutputDelta]) -> None:
        """Token ids are stored with the event that shows their text."""
        for delta in merge_adjacent(deltas):
            self._token_ids += delta.token_ids
            for event in self._events_of(delta):
                if isinstance(event, Delta):
                    self._entries.append(LogEntry(event, self._token_ids, self._dropped_ids, self._prompt_tokens))
                    self._token_ids, self._dropped_ids, self._prompt_tokens = (), 0, 0
                else:
                    self._entries.append(LogEntry(event))

    def _events_of(self, delta: OutputDelta) -> Sequence[Event]:
        """A fault stays with this turn: the events of all turns share one writer."""
        try:
            return self.turn.step(delta)
        except ParleyError as exc:
            self._fault = exc
        except Exception:
            logger.exception("an output delta could not be rendered", extra={"response": self.turn.request.response_id})
            self._fault = InternalError()
        return []


def _is_invisible(delta: OutputDelta) -> bool:
    return not (delta.name or delta.arguments) if isinstance(delta, ToolCallDelta) else not delta.text
