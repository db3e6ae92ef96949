"""Stores events, then publishes them: one pipeline in flight per process carries the events of all its turns.

During a round trip the next deltas gather, and adjacent ones become one event. So a lone reader sees every token at
once, and a busy server writes a few times per second and turn (an XADD for each token costs as much CPU as all the rest
of relaying it).
"""

import asyncio
import logging
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.store.turn_log.append import Append, AppendResult
from gateway.store.turn_log.repair import LogRepair
from gateway.turn.log import TurnLog
from gateway.turn.records import NOTHING_REPLAYED, ReplayedEvents
from gateway.turn.state_machine import Turn

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.1


class Writer:
    def __init__(self, redis: Redis, repair: LogRepair, *, retention_seconds: int) -> None:
        """`retention_seconds`: how long the events of a finished answer can be read again."""
        self._redis = redis
        self._repair = repair
        self._retention_seconds = retention_seconds
        self._pending: dict[TurnLog, None] = {}
        self._woken = asyncio.Event()

    def open(self, turn: Turn, replayed: ReplayedEvents = NOTHING_REPLAYED) -> TurnLog:
        """`replayed` is what the earlier owners of the turn have stored."""
        return TurnLog(turn, self._wake, replayed)

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
            await self._append_until_stored(
                [Append(log, entries) for log, entries in drained if log.turn.request.stored and entries]
            )
            for log, entries in drained:
                log.publish(entries)

    async def _append_until_stored(self, appends: Sequence[Append]) -> None:
        """Retries for as long as Redis is unreachable. Each entry has one id, so a retry adds nothing twice."""
        while appends:
            try:
                results = await self._append(appends)
            except RedisError as exc:
                logger.warning("events wait: redis does not reply", extra={"error": str(exc)})
            else:
                appends = await self._settle(appends, results)
            if appends:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _append(self, appends: Sequence[Append]) -> list[AppendResult]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for append in appends:
                append.queue(pipe, self._retention_seconds)
            replies = await pipe.execute(raise_on_error=False)
        return [append.result(replies) for append in appends]

    async def _settle(self, appends: Sequence[Append], results: Sequence[AppendResult]) -> list[Append]:
        """Returns what to append again."""
        waiting, damaged = [], []
        for append, result in zip(appends, results, strict=True):
            match result:
                case AppendResult.ADDED:
                    append.log.mark_written()
                case AppendResult.FENCED:
                    append.log.fence_off()
                case AppendResult.DAMAGED:
                    damaged.append(append)
                case AppendResult.RETRY:
                    waiting.append(append)
        restored = await asyncio.gather(*(self._restore(append) for append in damaged))
        return waiting + [append for append in restored if append.entries]

    async def _restore(self, append: Append) -> Append:
        return Append(append.log, await self._repair.restore(append.log, append.entries))
