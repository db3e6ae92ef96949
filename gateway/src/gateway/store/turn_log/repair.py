"""Restores the log of a running turn when Redis has lost its end, in a failover or because its file was truncated.

The owner fences what is left and stores the missing events again in the next segment, as if it took its own turn over:
so a stalled owner cannot overwrite a taker's segment, and readers need to know of takeovers only.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from gateway.errors import NotFound, Unavailable
from gateway.store.turn_log.fencing import Segments
from gateway.turn.log import TurnLog
from gateway.turn.log_entry import LogEntry
from gateway.turn.records import ReplayedEvents

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.1


class Claims(Protocol):
    async def owner(self, user_id: str, response_id: str) -> tuple[str, int]: ...
    async def claim(self, user_id: str, response_id: str, gateway_id: str, segment: int) -> bool: ...


class LogRepair:
    def __init__(self, segments: Segments, claims: Claims, gateway_id: str) -> None:
        self._segments = segments
        self._claims = claims
        self._gateway_id = gateway_id

    async def restore(self, log: TurnLog, waiting: Sequence[LogEntry]) -> list[LogEntry]:
        """Returns what has to be added to the new segment: what is missing, and those `waiting`. Nothing if the log is
        fenced off, because the turn belongs to another gateway, was deleted, or cannot be restored."""
        while not log.is_fenced_off:
            try:
                return await self._try_restore(log, waiting)
            except Unavailable as exc:
                logger.warning("a log waits to be restored", extra={"error": exc.message})
                await asyncio.sleep(_RETRY_SECONDS)
        return []

    async def _try_restore(self, log: TurnLog, waiting: Sequence[LogEntry]) -> list[LogEntry]:
        request = log.turn.request
        user_id, response_id = request.user_id, request.response_id
        replayed = await self._segments.read(user_id, response_id)
        if self._is_moved(log, replayed) or not await self._is_owned(log):
            log.fence_off(lost=not log.agrees_with(replayed.entries))
            return []
        # Before the fences, so that this gateway does not take its own for another's.
        log.begin_segment(log.segment + 1, len(replayed.entries))
        if not await self._fence(log, replayed.segment) or not await self._claim(log):
            log.fence_off()
            return []
        # Again: until the fence an earlier owner, whose fence was lost, could add events.
        replayed = await self._segments.read(user_id, response_id)
        missing = log.missing_from(replayed.entries, waiting)
        if self._is_moved(log, replayed) or missing is None:
            logger.error("redis has another log than the one shown", extra={"response": response_id})
            log.fence_off(lost=True)
            return []
        log.begin_segment(replayed.segment, len(replayed.entries))
        logger.warning(
            "redis had lost the end of a log: it is stored again",
            extra={"response": response_id, "kept": len(replayed.entries), "events": len(missing)},
        )
        return missing

    def _is_moved(self, log: TurnLog, replayed: ReplayedEvents) -> bool:
        """Whether another gateway has taken the turn over. An earlier segment than the log's own means that a fence was
        lost, together with all that followed it."""
        is_fenced_by_other = replayed.owner not in (None, self._gateway_id)
        return replayed.segment > log.segment or (replayed.segment == log.segment and is_fenced_by_other)

    async def _fence(self, log: TurnLog, first: int) -> bool:
        """Also segments that were lost, so that the new one has a higher number than any earlier owner's."""
        user_id, response_id = log.turn.request.user_id, log.turn.request.response_id
        for segment in range(first, log.segment):
            if not await self._segments.fence(user_id, response_id, segment, self._gateway_id):
                return False
        return True

    async def _is_owned(self, log: TurnLog) -> bool:
        """A record of an earlier owner has lost this gateway's claim."""
        try:
            owner, segment = await self._claims.owner(log.turn.request.user_id, log.turn.request.response_id)
        except NotFound:  # deleted, or lost
            return False
        return owner == self._gateway_id or segment < log.segment

    async def _claim(self, log: TurnLog) -> bool:
        request = log.turn.request
        try:
            return await self._claims.claim(request.user_id, request.response_id, self._gateway_id, log.segment)
        except NotFound:  # just deleted
            return False
