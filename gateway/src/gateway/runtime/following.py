"""Responses as any gateway sees them, whichever one runs the turn: retrieved, followed, stopped, deleted."""

from collections.abc import AsyncIterator
from typing import Protocol

import anyio

from gateway.errors import EventsExpired, EventsLost, ParleyError, ShuttingDown, Unavailable
from gateway.protocol.events import frame as encode_frame
from gateway.protocol.events import socket_error
from gateway.protocol.resources import Response
from gateway.runtime.ports import TurnLogReader
from gateway.runtime.registry import TurnRegistry
from gateway.runtime.running import RunningTurn
from gateway.turn.commands import CancelTurn
from gateway.turn.records import CancelRequest, StoredResponse

# The engine lets go within milliseconds; the turns of a gateway that dies meanwhile are taken over within seconds.
_CANCEL_SECONDS = 10.0
# The owner may have died before it read the command, or may not have started a turn that it has taken over.
_RESEND_SECONDS = 0.5


class ResponseStore(Protocol):
    async def find(self, user_id: str, response_id: str) -> StoredResponse: ...
    async def get(self, user_id: str, response_id: str) -> StoredResponse: ...
    async def request_cancel(self, user_id: str, response_id: str) -> CancelRequest: ...
    async def delete(self, user_id: str, stored: StoredResponse) -> None: ...


class ResponseFollower:
    """Every method raises Unavailable, and NotFound for another user's response as for an absent one."""

    def __init__(self, registry: TurnRegistry, responses: ResponseStore, reader: TurnLogReader) -> None:
        self._registry = registry
        self._responses = responses
        self._reader = reader

    async def get(self, user_id: str, response_id: str) -> StoredResponse:
        return await self._responses.get(user_id, response_id)

    async def check(self, user_id: str, response_id: str, *, running: RunningTurn | None = None) -> None:
        """Before anything is sent to a follower. Raises EventsExpired too. `running` saves the look-up."""
        if running is None and self._stored_here(user_id, response_id) is None:
            stored = await self._responses.find(user_id, response_id)
            if stored.has_ended and not await self._reader.exists(user_id, response_id):
                raise EventsExpired

    async def follow(
        self, user_id: str, response_id: str, starting_after: int = -1, *, running: RunningTurn | None = None
    ) -> AsyncIterator[str]:
        """Frames up to the terminal event: from memory where the turn runs here, through Redis elsewhere, and across a
        takeover. Ends with an error event when the response is deleted. `running` saves the look-up."""
        number = starting_after
        running = running or self._stored_here(user_id, response_id)
        if running is not None:
            async for frame in running.log.events.follow(number):
                yield frame
                number += 1
            if running.log.events.is_complete:
                return
            if running.log.events.is_lost:
                yield encode_frame(socket_error(EventsLost()))
                return
        while True:
            async with self._reader.events(user_id, response_id) as events:
                async for frame in events.follow(number):
                    yield frame
                    number += 1
                if events.is_complete:
                    return
                if events.is_lost:
                    yield encode_frame(socket_error(EventsLost()))
                    return
            if (error := await self._final_error(user_id, response_id)) is not None:
                yield encode_frame(socket_error(error))
                return

    async def _final_error(self, user_id: str, response_id: str) -> ParleyError | None:
        """Why the log of a response is gone for good; None if it may come back."""
        try:
            await self.check(user_id, response_id)
        except Unavailable:
            return None
        except ParleyError as exc:
            return exc
        return None

    async def outcome(self, user_id: str, response_id: str, *, running: RunningTurn | None = None) -> Response:
        """Waits for the end of the turn, on whichever gateway. Raises ShuttingDown when this one ends first."""
        if running is not None:
            await running.log.events.wait_closed()
            if running.prepared.turn.outcome is not None and running.log.events.is_complete:
                return running.prepared.turn.outcome
            if running.is_released:
                raise ShuttingDown
        while not (await self._responses.find(user_id, response_id)).has_ended:
            async with self._reader.events(user_id, response_id) as events:
                await events.wait_closed()
        return (await self._responses.get(user_id, response_id)).response

    async def cancel(self, user_id: str, response_id: str) -> Response:
        """Returns the response once it has ended, for whatever reason. Idempotent."""
        with anyio.move_on_after(_CANCEL_SECONDS):
            while True:
                running = self._registry.find(user_id, response_id)
                if running is not None:
                    running.stop()  # at once, even if Redis is not reachable
                if running is None or running.request.stored:
                    await self._request_cancel(user_id, response_id, stopped_here=running is not None)
                with anyio.move_on_after(_RESEND_SECONDS):
                    return await self.outcome(user_id, response_id, running=running)
        raise Unavailable("gateway")

    async def _request_cancel(self, user_id: str, response_id: str, *, stopped_here: bool) -> None:
        """Also for a turn that runs here: it may have been taken over, or this gateway may die before it ends."""
        try:
            if not (await self._responses.find(user_id, response_id)).has_ended:
                request = await self._responses.request_cancel(user_id, response_id)
                await self._reader.send_command(request.owner, CancelTurn(response_id, request.requested_at_ms))
        except Unavailable:
            if not stopped_here:
                raise

    async def delete(self, user_id: str, response_id: str) -> None:
        """A running turn is stopped first, so that it writes nothing afterwards."""
        await self.cancel(user_id, response_id)
        await self._responses.delete(user_id, await self._responses.find(user_id, response_id))

    def _stored_here(self, user_id: str, response_id: str) -> RunningTurn | None:
        """A response that is not stored has one reader only, the client that asked for it."""
        running = self._registry.find(user_id, response_id)
        return running if running is not None and running.request.stored else None
