"""One turn's events on their way: steps go in, and come out as frames once they are kept."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.errors import InternalError, ParleyError
from gateway.inference import OutputDelta, ReasoningTextDelta, TextDelta, ToolCallDelta, merged
from gateway.protocol.events import Delta, Event
from gateway.turn.event_buffer import EventBuffer
from gateway.turn.log_entry import LogEntry
from gateway.turn.state_machine import Ending, Failed, Step, Turn

logger = logging.getLogger(__name__)


class TurnLog:
    def __init__(
        self, turn: Turn, wake: Callable[["TurnLog"], None], *, segment: int = 0, told: Sequence[str] = ()
    ) -> None:
        self.turn = turn
        self.frames = EventBuffer(told)
        self.is_fenced_off = False
        # Whether the segment that grows has an entry already.
        self.has_entries = False
        # Nobody keeps the answer: its events go as soon as its followers have had them.
        self.discard_after_delivery = False
        self.on_fenced_off: Callable[[], None] | None = None
        # Kept with the next delta: who takes the turn over only to end it asks the engine nothing.
        self.prompt_tokens = 0
        # With the last delta, if it is known by then: who takes the turn over has nothing more to ask for.
        self.finish_reason = ""
        # The last of its segments, the only one that grows.
        self.segment = segment
        self._wake = wake
        self._pieces: list[OutputDelta] = []
        self._entries: list[LogEntry] = []
        self._token_ids: tuple[int, ...] = ()
        self._dropped = 0
        self._fault: ParleyError | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def append(self, step: Step) -> None:
        """Raises what an earlier piece of the engine's could not be made into."""
        if isinstance(step, TextDelta | ReasoningTextDelta | ToolCallDelta):
            if self._fault is not None:
                raise self._fault
            self._pieces.append(step)
        else:
            self._render(())
            self._entries += [LogEntry(event) for event in self.turn.step(step)]
        self._changed()

    def drop(self, token_ids: int) -> None:
        """The last so many ids do not count: the engine makes them anew. Only what is silent may wait here by then."""
        waiting = self._token_ids + tuple(one for piece in self._pieces for one in piece.token_ids)
        self._pieces = []
        self._token_ids = waiting[: max(0, len(waiting) - token_ids)]
        self._dropped += max(0, token_ids - len(waiting))

    async def wait_flushed(self) -> None:
        """Everything up to here is kept, or the log is lost. Raises as `append` does."""
        while not self._idle.is_set() and not self.is_fenced_off:
            await self._idle.wait()
        if self._fault is not None:
            raise self._fault

    def finish(self, ending: Ending) -> list[LogEntry]:
        """The last events, for `append_entries` once the answer they tell of is in history."""
        pieces, self._pieces = self._pieces, []
        self._render(pieces)
        if self._fault is not None and not isinstance(ending, Failed):
            ending = Failed(self._fault)
        return [LogEntry(event) for event in self.turn.step(ending)]

    def append_entries(self, entries: Sequence[LogEntry]) -> None:
        self._entries += entries
        self._changed()

    def drain(self) -> list[LogEntry]:
        """Pieces without text at the end wait for the next with text: a log never ends inside a character."""
        shown = len(self._pieces)
        while shown and _is_silent(self._pieces[shown - 1]):
            shown -= 1
        pieces, self._pieces = self._pieces[:shown], self._pieces[shown:]
        self._render(pieces)
        entries, self._entries = self._entries, []
        if entries and isinstance(entries[-1].event, Delta):
            entries[-1] = replace(entries[-1], finish_reason=self.finish_reason)
        return entries

    def publish(self, entries: Sequence[LogEntry]) -> None:
        if entries and not self.is_fenced_off:
            self.frames.append([entry.frame for entry in entries], ended=entries[-1].is_last)
        if not self._entries and all(_is_silent(piece) for piece in self._pieces):
            self._idle.set()

    def fence_off(self) -> None:
        """Another gateway has taken the turn over: what it tells is what counts. Or the response was deleted."""
        self.is_fenced_off = True
        self._idle.set()
        self.frames.close(moved=True)
        if self.on_fenced_off is not None:
            self.on_fenced_off()

    def _changed(self) -> None:
        self._idle.clear()
        if not self.is_fenced_off:
            self._wake(self)

    def _render(self, pieces: Sequence[OutputDelta]) -> None:
        """Token ids go with the delta that shows what they were made into."""
        for piece in merged(pieces):
            self._token_ids += piece.token_ids
            for event in self._shown(piece):
                if isinstance(event, Delta):
                    self._entries.append(LogEntry(event, self._token_ids, self._dropped, self.prompt_tokens))
                    self._token_ids, self._dropped, self.prompt_tokens = (), 0, 0
                else:
                    self._entries.append(LogEntry(event))

    def _shown(self, piece: OutputDelta) -> Sequence[Event]:
        """One turn's fault is not the others', whose events go the same way."""
        try:
            return self.turn.step(piece)
        except ParleyError as exc:
            self._fault = exc
        except Exception:
            logger.exception(
                "a piece of an answer could not be shown", extra={"response": self.turn.request.response_id}
            )
            self._fault = InternalError()
        return []


def _is_silent(piece: OutputDelta) -> bool:
    return not (piece.name or piece.arguments) if isinstance(piece, ToolCallDelta) else not piece.text
