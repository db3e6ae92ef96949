"""Stores events, then publishes them: one pipeline in flight per process carries the events of all its turns.

During a round trip the next deltas gather, and adjacent ones become one event. So a lone reader sees every token at
once, and a busy server writes a few times per second and turn (an XADD for each token costs as much CPU as all the rest
of relaying it). A log that Redis refuses, or that has to be restored, is held: the others go on without it.
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
        # What was drained and is not stored. It is appended before more is drained: meanwhile deltas are merged.
        self._unstored: dict[TurnLog, Append] = {}
        self._held: set[TurnLog] = set()
        self._repairs: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()

    def open(self, turn: Turn, replayed: ReplayedEvents = NOTHING_REPLAYED) -> TurnLog:
        """`replayed` is what the earlier owners of the turn have stored."""
        return TurnLog(turn, self._wake, replayed)

    def _wake(self, log: TurnLog) -> None:
        self._pending[log] = None
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                logs, self._pending = self._pending, {}
                appends = [append for log in logs if log not in self._held and (append := self._drain(log))]
                if appends:
                    self._settle(appends, await self._append(appends))
        finally:
            # Not in a task group, which would wait for ever for one that has swallowed its cancellation (see
            # gateway.background).
            for repair in self._repairs:
                repair.cancel()

    def _drain(self, log: TurnLog) -> Append | None:
        """What has to be stored; anything else is published at once."""
        if log in self._unstored:
            append = self._unstored.pop(log)
            self._wake(log)  # for what has gathered since
        else:
            entries = log.drain()
            append = Append(log, entries, entries)
        if append.entries and log.turn.request.stored and not log.is_fenced_off:
            return append
        log.publish(append.unpublished)
        return None

    async def _append(self, appends: Sequence[Append]) -> list[AppendResult]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for append in appends:
                append.queue(pipe, self._retention_seconds)
            try:
                replies = await pipe.execute(raise_on_error=False)
            except RedisError as exc:
                logger.warning("events wait: redis does not reply", extra={"error": str(exc)})
                return [AppendResult.RETRY] * len(appends)
        return [append.result(replies) for append in appends]

    def _settle(self, appends: Sequence[Append], results: Sequence[AppendResult]) -> None:
        for append, result in zip(appends, results, strict=True):
            log = append.log
            match result:
                case AppendResult.ADDED:
                    log.mark_written()
                    log.publish(append.unpublished)
                case AppendResult.FENCED:
                    log.fence_off()
                    log.publish(())
                case AppendResult.DAMAGED:
                    self._held.add(log)
                    repair = asyncio.create_task(self._restore(append))
                    self._repairs.add(repair)
                    repair.add_done_callback(self._repairs.discard)
                case AppendResult.RETRY:
                    # Each entry has one id, so a retry adds nothing twice.
                    self._held.add(log)
                    asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._release, append)

    async def _restore(self, append: Append) -> None:
        log = append.log
        try:
            entries = await self._repair.restore(log, append.entries)
        except Exception:  # a bug ends this turn, and not the writer of all
            logger.exception("a log was not restored", extra={"response": log.turn.request.response_id})
            log.fence_off(lost=True)
            entries = []
        self._release(Append(log, entries, append.unpublished))

    def _release(self, append: Append) -> None:
        self._held.discard(append.log)
        self._unstored[append.log] = append
        self._wake(append.log)
