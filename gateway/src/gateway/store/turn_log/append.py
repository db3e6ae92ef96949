"""Adds events to one log, as commands of a pipeline that many logs share, and checks by the replies that the log is
whole.

Redis adds an entry also where the entries before it were lost. But ids only increase, so a segment without a hole has
exactly as many entries as the number of its last event says: the length is read with each append.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from redis.exceptions import ResponseError

from gateway.store.keys import response_key, segment_key, segment_keys
from gateway.turn.log import TurnLog
from gateway.turn.log_entry import LogEntry, is_fence_rejection

logger = logging.getLogger(__name__)

# Of a turn whose gateway died and that no other gateway took over.
_ABANDONED_SECONDS = 86_400
# Of a discarded turn: its followers on other gateways still have to read its end.
_DISCARDED_SECONDS = 10


class AppendResult(Enum):
    ADDED = auto()
    # Another gateway has taken the turn over.
    FENCED = auto()
    # What should be before the entries is not there: Redis has lost it, or the response was deleted.
    DAMAGED = auto()
    # Redis could not, for now (full, loading, read-only); none of the entries was added.
    RETRY = auto()


@dataclass(slots=True)
class Append:
    """All `entries` or none are added: one refused in the middle would leave a hole before the later ones. They are not
    always those that are `unpublished`: after a loss, some were published before, and some are in Redis already."""

    log: TurnLog
    entries: Sequence[LogEntry]
    unpublished: Sequence[LogEntry]
    _is_first: bool = False
    _end: int = 0

    def queue(self, pipe: Any, retention_seconds: int) -> None:
        log, entries, key = self.log, self.entries, self._key(self.log.segment)
        self._is_first = not log.has_entries
        if len(entries) == 1 and not self._is_first and not entries[-1].is_terminal:
            pipe.xadd(key, entries[0].fields(), id=entries[0].id, nomkstream=True)
            pipe.xlen(key)
        else:
            pipe.execute_command("MULTI")
            self._queue_transaction(pipe, key, retention_seconds)
            pipe.execute_command("EXEC")
        self._end = len(pipe)

    def result(self, replies: Sequence[Any]) -> AppendResult:
        """`replies` are those of the whole pipeline."""
        last = replies[self._end - 1]
        own = last if isinstance(last, list) else replies[self._end - 2 : self._end]
        # An entry that an earlier attempt has added is "equal or smaller".
        errors = [one for one in own if isinstance(one, Exception) and "equal or smaller" not in str(one)]
        if not errors:
            return AppendResult.ADDED if self._is_whole(own) else AppendResult.DAMAGED
        if isinstance(errors[0], ResponseError) and is_fence_rejection(errors[0]):
            return AppendResult.FENCED
        logger.warning("events wait: redis refuses them", extra={"error": str(errors[0])})
        return AppendResult.RETRY

    def _queue_transaction(self, pipe: Any, key: str, retention_seconds: int) -> None:
        """A segment with entries that is missing is not created again: it was deleted, lost, or has expired with its
        fence."""
        for entry in self.entries:
            pipe.xadd(key, entry.fields(), id=entry.id, nomkstream=not self._is_first)
        if self._is_first:
            pipe.expire(key, _ABANDONED_SECONDS)
        if self.entries[-1].is_terminal:
            seconds = _DISCARDED_SECONDS if self.log.is_discarded else retention_seconds
            request = self.log.turn.request
            for each in segment_keys(request.user_id, request.response_id, self.log.segment):
                pipe.expire(each, seconds)
        if self._is_first:
            self._queue_begin_check(pipe)
        pipe.xlen(key)

    def _queue_begin_check(self, pipe: Any) -> None:
        """A log begins after its turn was accepted, and each later segment after it was claimed, behind a fence."""
        record = response_key(self.log.turn.request.user_id, self.log.turn.request.response_id)
        if self.log.segment == 0:
            pipe.exists(record)
        else:
            pipe.hget(record, "segment")

    def _is_whole(self, replies: Sequence[Any]) -> bool:
        if replies[-1] != self.entries[-1].event.sequence_number + 1 - self.log.first_number:
            return False
        return not self._is_first or replies[-2] == (str(self.log.segment).encode() if self.log.segment else 1)

    def _key(self, segment: int) -> str:
        return segment_key(self.log.turn.request.user_id, self.log.turn.request.response_id, segment)
