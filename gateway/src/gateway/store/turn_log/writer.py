"""Stores events, then publishes them: one pipeline in flight per process carries the events of all its turns.

During a round trip the next deltas gather, and adjacent ones become one event. So a lone reader sees every token at
once, and a busy server writes a few times per second and turn (an XADD for each token costs as much CPU as all the rest
of relaying it).
"""

import asyncio
import logging
from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from gateway.store.keys import segment_key, segment_keys
from gateway.turn.log import TurnLog
from gateway.turn.log_entry import LogEntry, is_fence_rejection
from gateway.turn.state_machine import Turn

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.1
# Of a turn whose gateway died and that no other gateway took over.
_ABANDONED_SECONDS = 86_400
# Of a discarded turn: its followers on other gateways still have to read its end.
_DISCARDED_SECONDS = 10

Batch = Sequence[tuple[TurnLog, Sequence[LogEntry]]]


class AppendResult(Enum):
    ADDED = auto()
    # Another gateway has taken the turn over, or the response was deleted.
    FENCED = auto()
    # Redis could not, for now (full, loading, read-only); none of the log's entries was added.
    RETRY = auto()


class Writer:
    def __init__(self, redis: Redis, *, retention_seconds: int) -> None:
        """`retention_seconds`: how long the events of a finished answer can be read again."""
        self._redis = redis
        self._retention_seconds = retention_seconds
        self._pending: dict[TurnLog, None] = {}
        self._woken = asyncio.Event()

    def open(self, turn: Turn, *, segment: int = 0, frames: Sequence[str] = ()) -> TurnLog:
        """`frames` are those of the segments before."""
        return TurnLog(turn, self._wake, segment=segment, frames=frames)

    def _wake(self, log: TurnLog) -> None:
        self._pending[log] = None
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            logs, self._pending = self._pending, {}
            drained = [(log, log.drain()) for log in logs]
            stored = [(log, entries) for log, entries in drained if log.turn.request.stored and entries]
            await self._append_until_stored(stored)
            for log, entries in drained:
                log.publish(entries)

    async def _append_until_stored(self, batch: Batch) -> None:
        """Retries for as long as Redis is unreachable. Each entry has one id, so a retry adds nothing twice."""
        while batch:
            try:
                results = await self._append(batch)
            except RedisError as exc:
                logger.warning("events wait: redis does not reply", extra={"error": str(exc)})
            else:
                batch = _settle(batch, results)
            if batch:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _append(self, batch: Batch) -> list[AppendResult]:
        """All or nothing for each log: an entry refused in the middle would leave a gap before the later ones."""
        async with self._redis.pipeline(transaction=False) as pipe:
            ends = [self._queue(pipe, log, entries) for log, entries in batch]
            replies = await pipe.execute(raise_on_error=False)
        return [_result_of(replies[end - 1]) for end in ends]

    def _queue(self, pipe: Any, log: TurnLog, entries: Sequence[LogEntry]) -> int:
        """Returns the number of commands up to the one whose reply counts for all entries.

        A segment with entries that is missing was deleted, or has expired with its fence: it is not created again.
        """
        request, is_last = log.turn.request, entries[-1].is_terminal
        key = segment_key(request.user_id, request.response_id, log.segment)
        if len(entries) == 1 and log.has_entries and not is_last:
            pipe.xadd(key, entries[0].fields(), id=entries[0].id, nomkstream=True)
            return len(pipe)
        pipe.execute_command("MULTI")
        for entry in entries:
            pipe.xadd(key, entry.fields(), id=entry.id, nomkstream=log.has_entries)
        if not log.has_entries:
            pipe.expire(key, _ABANDONED_SECONDS)
        if is_last:
            seconds = _DISCARDED_SECONDS if log.is_discarded else self._retention_seconds
            for each in segment_keys(request.user_id, request.response_id, log.segment):
                pipe.expire(each, seconds)
        pipe.execute_command("EXEC")
        return len(pipe)


def _settle(batch: Batch, results: Sequence[AppendResult]) -> Batch:
    """Returns what to retry."""
    for (log, _), result in zip(batch, results, strict=True):
        match result:
            case AppendResult.ADDED:
                log.mark_written()
            case AppendResult.FENCED:
                log.fence_off()
            case AppendResult.RETRY:
                pass
    return [one for one, result in zip(batch, results, strict=True) if result is AppendResult.RETRY]


def _result_of(reply: object) -> AppendResult:
    replies = reply if isinstance(reply, list) else [reply]
    if None in replies:
        return AppendResult.FENCED
    error = next((one for one in replies if isinstance(one, Exception)), None)
    if error is None:
        return AppendResult.ADDED
    if isinstance(error, ResponseError) and is_fence_rejection(error):
        return AppendResult.FENCED
    if isinstance(error, ResponseError) and "equal or smaller" in str(error):
        return AppendResult.ADDED  # by an earlier attempt
    logger.warning("events wait: redis refuses them", extra={"error": str(error)})
    return AppendResult.RETRY
