"""Responses as any replica sees them, whoever runs the turn: retrieved, followed, stopped, deleted."""

from collections.abc import AsyncIterator
from typing import Protocol

import anyio

from gateway.errors import EventsExpired, ParleyError, ShuttingDown, Unavailable
from gateway.protocol.events import frame as wire
from gateway.protocol.events import socket_error
from gateway.protocol.resources import Response
from gateway.runtime.registry import TurnRegistry
from gateway.runtime.running import RunningTurn
from gateway.store.history.responses import CancelRequest, StoredResponse
from gateway.store.turn_log.reader import Reader

# The engine lets go within milliseconds; a gateway that dies meanwhile is taken over from within seconds.
_STOP_SECONDS = 10.0
# Whoever was told may have died at that moment, or may not have begun yet with what it has taken over.
_TELL_AGAIN_SECONDS = 0.5


class ResponseStore(Protocol):
    async def get(self, user_id: str, response_id: str) -> StoredResponse: ...
    async def request_cancel(self, user_id: str, response_id: str) -> CancelRequest: ...
    async def delete(self, user_id: str, stored: StoredResponse) -> None: ...


class ResponseFollower:
    """Every method raises NotFound, for a foreign response as for an absent one, and Unavailable."""

    def __init__(self, turns: TurnRegistry, responses: ResponseStore, reader: Reader) -> None:
        self._turns = turns
        self._responses = responses
        self._reader = reader

    async def get(self, user_id: str, response_id: str) -> StoredResponse:
        return await self._responses.get(user_id, response_id)

    async def check(self, user_id: str, response_id: str) -> None:
        """Raises EventsExpired too: before anything is sent to a follower."""
        if self._stored_here(user_id, response_id) is None:
            stored = await self._responses.get(user_id, response_id)
            if stored.ended and not await self._reader.exists(user_id, response_id):
                raise EventsExpired

    async def follow(
        self, user_id: str, response_id: str, starting_after: int = -1, *, running: RunningTurn | None = None
    ) -> AsyncIterator[str]:
        """Frames up to the terminal one: from memory where the turn runs here, through Redis elsewhere, and across a
        move between the two; of a response that is deleted meanwhile an error at last. `running` spares the lookup."""
        number = starting_after
        running = running or self._stored_here(user_id, response_id)
        if running is not None:
            async for frame in running.log.frames.follow(number):
                yield frame
                number += 1
            if running.log.frames.is_complete:
                return
        while True:
            async with self._reader.frames(user_id, response_id) as frames:
                async for frame in frames.follow(number):
                    yield frame
                    number += 1
                if frames.is_complete:
                    return
            if (gone := await self._gone(user_id, response_id)) is not None:
                yield wire(socket_error(gone))
                return

    async def _gone(self, user_id: str, response_id: str) -> ParleyError | None:
        """Why there is nothing more to be told of a response whose log is not there; None: not for ever."""
        try:
            await self.check(user_id, response_id)
        except Unavailable:
            return None
        except ParleyError as exc:
            return exc
        return None

    async def outcome(self, user_id: str, response_id: str, *, running: RunningTurn | None = None) -> Response:
        """Once it has ended, wherever that is. Raises Leaving when this gateway goes before."""
        if running is not None:
            await running.log.frames.wait_closed()
            if running.accepted.turn.outcome is not None and running.log.frames.is_complete:
                return running.accepted.turn.outcome
            if running.released:
                raise ShuttingDown
        stored = await self._responses.get(user_id, response_id)
        while not stored.ended:
            async with self._reader.frames(user_id, response_id) as frames:
                await frames.wait_closed()
            stored = await self._responses.get(user_id, response_id)
        return stored.response

    async def cancel(self, user_id: str, response_id: str) -> Response:
        """The response once it has ended, however that came about: stopping it again changes nothing."""
        with anyio.move_on_after(_STOP_SECONDS):
            while True:
                running = self._turns.running(user_id, response_id)
                if running is not None:
                    running.stop()  # at once, whatever Redis does
                if running is None or running.request.stored:
                    await self._wish_cancelled(user_id, response_id, stopped_here=running is not None)
                with anyio.move_on_after(_TELL_AGAIN_SECONDS):
                    return await self.outcome(user_id, response_id, running=running)
        raise Unavailable("gateway")

    async def _wish_cancelled(self, user_id: str, response_id: str, *, stopped_here: bool) -> None:
        """Also of a turn that runs here: it may have been taken over, or this gateway may die before it has ended."""
        try:
            if not (await self._responses.get(user_id, response_id)).ended:
                wish = await self._responses.request_cancel(user_id, response_id)
                await self._reader.send_command(
                    wish.owner, {"cancel": response_id, "wished_ms": str(wish.requested_at_ms)}
                )
        except Unavailable:
            if not stopped_here:
                raise

    async def delete(self, user_id: str, response_id: str) -> None:
        """A running one is stopped first, so that nothing comes after."""
        await self.cancel(user_id, response_id)
        await self._responses.delete(user_id, await self._responses.get(user_id, response_id))

    def _stored_here(self, user_id: str, response_id: str) -> RunningTurn | None:
        """What is stored nowhere has one reader: who asked for it."""
        running = self._turns.running(user_id, response_id)
        return running if running is not None and running.request.stored else None
