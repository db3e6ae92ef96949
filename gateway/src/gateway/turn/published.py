"""What is published of a running turn, kept until it ends: what Redis loses of it can be stored again."""

from array import array
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from gateway.protocol.events import Delta, decode_event
from gateway.turn.event_buffer import EventBuffer
from gateway.turn.log_entry import LogEntry, StoredEntry, decode_frames, finish_reason, prompt_tokens, token_ids


class PublishedEvents:
    """Beside the frames, which the followers need anyway, it takes four bytes a token."""

    def __init__(self, replayed: Sequence[StoredEntry] = ()) -> None:
        """`replayed` is what the earlier owners of the turn have stored."""
        fields = [fields for _, fields in replayed]
        self.events = EventBuffer(decode_frames(replayed))
        self._token_ids = array("I", token_ids(fields))
        self._prompt_tokens = prompt_tokens(fields)
        self._finish_reason = finish_reason(fields) or ""

    def publish(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.dropped:
                del self._token_ids[len(self._token_ids) - entry.dropped :]
            self._token_ids.extend(entry.token_ids)
            self._prompt_tokens = self._prompt_tokens or entry.prompt_tokens
            self._finish_reason = entry.finish_reason or self._finish_reason
        self.events.append([entry.frame for entry in entries], ended=entries[-1].is_terminal)

    def missing_from(self, stored: Sequence[StoredEntry], waiting: Sequence[LogEntry]) -> list[LogEntry] | None:
        """What a log that ends with `stored` lacks of the published events and of those `waiting`; None if it has
        anything else."""
        shown, unshown = list(self.events.frames), [entry.frame for entry in waiting]
        if (shown + unshown)[: len(stored)] != decode_frames(stored):
            return None
        lost = [LogEntry(decode_event(text)) for text in shown[len(stored) :]]
        self._attach_tokens(lost, stored)
        return [*lost, *waiting[max(0, len(stored) - len(shown)) :]]

    def _attach_tokens(self, lost: list[LogEntry], stored: Sequence[StoredEntry]) -> None:
        """To the last delta: which of the events had which ids does not matter, since they are added together."""
        fields = [fields for _, fields in stored]
        ids = token_ids(fields)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, self._token_ids, strict=False)))
        for index in reversed(range(len(lost))):
            if isinstance(lost[index].event, Delta):
                lost[index] = replace(
                    lost[index],
                    token_ids=tuple(self._token_ids[common:]),
                    dropped=len(ids) - common,
                    prompt_tokens=0 if prompt_tokens(fields) else self._prompt_tokens,
                    finish_reason=self._finish_reason,
                )
                return
