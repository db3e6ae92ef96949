"""Responses as any replica sees them, whoever runs the turn: retrieved, followed, stopped, deleted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import anyio

from gateway.errors import EventsExpired, Unavailable
from gateway.history.responses import Stored
from gateway.protocol.resources import Response
from gateway.turn_log.frames import Frames
from gateway.turn_log.reader import Reader
from gateway.turns.turns import Turns

# The engine lets go within milliseconds; the rest is Redis.
_STOP_SECONDS = 10.0


class StoredResponses(Protocol):
    async def get(self, user_id: str, response_id: str) -> Stored: ...
    async def wish_cancelled(self, user_id: str, response_id: str) -> None: ...
    async def delete(self, user_id: str, stored: Stored) -> None: ...


class Following:
    """Every method raises NotFound, for a foreign response as for an absent one, and Unavailable."""

    def __init__(self, turns: Turns, responses: StoredResponses, reader: Reader) -> None:
        self._turns = turns
        self._responses = responses
        self._reader = reader

    async def get(self, user_id: str, response_id: str) -> Stored:
        return await self._responses.get(user_id, response_id)

    @asynccontextmanager
    async def frames(self, user_id: str, response_id: str) -> AsyncIterator[Frames]:
        """From memory where the turn runs here, through Redis elsewhere. Raises EventsExpired."""
        running = self._turns.running(user_id, response_id)
        if running is not None:
            yield running.log.frames
            return
        stored = await self._responses.get(user_id, response_id)
        if stored.ended and not await self._reader.exists(user_id, response_id):
            raise EventsExpired
        async with self._reader.frames(user_id, response_id) as frames:
            yield frames

    async def cancel(self, user_id: str, response_id: str) -> Response:
        """The response once it has ended, however that came about: stopping it again changes nothing."""
        running = self._turns.running(user_id, response_id)
        if running is not None:
            running.stop()
            await _ended(running.log.frames)
            if running.accepted.turn.outcome is not None:
                return running.accepted.turn.outcome
        stored = await self._responses.get(user_id, response_id)
        if stored.ended:
            return stored.response
        await self._responses.wish_cancelled(user_id, response_id)
        async with self._reader.frames(user_id, response_id) as frames:
            await self._reader.ask_to_cancel(stored.owner, response_id)
            await _ended(frames)
        return (await self._responses.get(user_id, response_id)).response

    async def delete(self, user_id: str, response_id: str) -> None:
        """A running one is stopped first, so that nothing comes after."""
        await self.cancel(user_id, response_id)
        await self._responses.delete(user_id, await self._responses.get(user_id, response_id))


async def _ended(frames: Frames) -> None:
    with anyio.move_on_after(_STOP_SECONDS) as patience:
        await frames.end()
    if patience.cancelled_caught:
        raise Unavailable("gateway")
