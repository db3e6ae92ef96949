"""Append, then deliver: one pipeline in flight a process carries the events of all its turns.

While a round trip is under way the next pieces gather, and neighbours become one event. So a lone reader sees every
token at once, and a busy server writes a few times a second and turn (an XADD a token costs as much CPU as all the rest
of relaying it).
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from gateway.store.turn_log.keys import segment_key, segment_keys
from gateway.turn.log import TurnLog
from gateway.turn.log_entry import LogEntry, is_fence_rejection
from gateway.turn.state_machine import Turn

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.1
# Of a turn whose gateway died and that nobody took over.
_ABANDONED_SECONDS = 86_400
# Of one that was deleted: for whoever follows it elsewhere, and has not read its end yet.
_FORGOTTEN_SECONDS = 10

Batch = list[tuple[TurnLog, Sequence[LogEntry]]]
_Answer = Literal["there", "lost", "wait"]


class Writer:
    def __init__(self, redis: Redis, *, retention_seconds: int) -> None:
        """`retention_seconds`: how long the events of a finished answer can be read again."""
        self._redis = redis
        self._kept_seconds = retention_seconds
        self._dirty: dict[TurnLog, None] = {}
        self._woken = asyncio.Event()

    def open(self, turn: Turn, *, segment: int = 0, frames: Sequence[str] = ()) -> TurnLog:
        """`frames` are those of the segments before."""
        return TurnLog(turn, self._wake, segment=segment, frames=frames)

    def _wake(self, log: TurnLog) -> None:
        self._dirty[log] = None
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            logs, self._dirty = self._dirty, {}
            taken = [(log, log.drain()) for log in logs]
            await self._keep([(log, entries) for log, entries in taken if log.turn.request.stored and entries])
            for log, entries in taken:
                log.publish(entries)

    async def _keep(self, batch: Batch) -> None:
        """Returns when all of them are there, however long Redis is away: an entry has one id, so trying again adds
        nothing twice."""
        while batch:
            try:
                answers = await self._add(batch)
            except RedisError as exc:
                logger.warning("events wait: redis does not answer", extra={"error": str(exc)})
            else:
                for (log, _), answer in zip(batch, answers, strict=True):
                    if answer == "lost":
                        log.fence_off()
                    if answer == "there":
                        log.mark_written()
                batch = [one for one, answer in zip(batch, answers, strict=True) if answer == "wait"]
            if batch:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _add(self, batch: Batch) -> list[_Answer]:
        """All or nothing for each log: an entry refused in the middle would leave a hole behind the later ones."""
        async with self._redis.pipeline(transaction=False) as pipe:
            ends = [self._add_one(pipe, log, entries) for log, entries in batch]
            answers = await pipe.execute(raise_on_error=False)
        return [_meaning(answers[end - 1]) for end in ends]

    def _add_one(self, pipe: Any, log: TurnLog, entries: Sequence[LogEntry]) -> int:
        """The number of commands up to the one that answers for all.

        A segment that has begun and is not there any more was deleted, or has expired with its seal: it is not made
        anew.
        """
        request, last = log.turn.request, entries[-1].is_terminal
        key = segment_key(request.user_id, request.response_id, log.segment)
        if len(entries) == 1 and log.has_entries and not last:
            pipe.xadd(key, entries[0].fields(), id=entries[0].id, nomkstream=True)
            return len(pipe)
        pipe.execute_command("MULTI")
        for entry in entries:
            pipe.xadd(key, entry.fields(), id=entry.id, nomkstream=log.has_entries)
        if not log.has_entries:
            pipe.expire(key, _ABANDONED_SECONDS)
        for every in segment_keys(request.user_id, request.response_id, log.segment) if last else ():
            pipe.expire(every, _FORGOTTEN_SECONDS if log.is_discarded else self._kept_seconds)
        pipe.execute_command("EXEC")
        return len(pipe)


def _meaning(answer: object) -> _Answer:
    """ "wait": Redis could not, for now (full, loading, a replica); none of the log's entries is there."""
    answers = answer if isinstance(answer, list) else [answer]
    if None in answers:
        return "lost"
    refusals = [one for one in answers if isinstance(one, Exception)]
    if not refusals:
        return "there"
    reason = str(refusals[0])
    if isinstance(refusals[0], ResponseError) and is_fence_rejection(refusals[0]):
        return "lost"
    if isinstance(refusals[0], ResponseError) and "equal or smaller" in reason:
        return "there"  # an earlier try has added them
    logger.warning("events wait: redis refuses them", extra={"error": reason})
    return "wait"
