"""Continues the turns of a gateway that died, or released them: the same answer, after the last event stored."""

import asyncio
import logging
import random
import time
from typing import Protocol

from gateway.context.prompt import PromptHistory
from gateway.errors import InternalError, NotFound, ParleyError, Unavailable
from gateway.protocol.events import decode_event
from gateway.protocol.items import Item
from gateway.protocol.resources import Response, Usage
from gateway.runtime.generation_state import GenerationState
from gateway.runtime.history_loader import LoadedHistory
from gateway.runtime.ports import TurnLogWriter
from gateway.runtime.preparation import PreparedTurn, TurnPreparation
from gateway.runtime.registry import TurnRegistry
from gateway.runtime.running import RunningTurn
from gateway.turn.log_entry import decode_frames, finish_reason, is_terminal, prompt_tokens, token_ids
from gateway.turn.records import InterruptedTurn, ReplayedEvents, ThreadSnapshot
from gateway.turn.state_machine import Completed, Created, Ending, Failed, Incomplete, Turn
from gateway.turn.turn_request import TurnRequest

logger = logging.getLogger(__name__)

_MAX_CONCURRENT = 16


class Leases(Protocol):
    async def add_turn(self, user_id: str, response_id: str) -> None: ...
    async def remove_turn(self, user_id: str, response_id: str, *, of: str | None = None) -> None: ...
    async def list_turns(self, gateway_id: str) -> list[tuple[str, str]]: ...
    async def forget_gateway(self, gateway_id: str) -> None: ...


class Segments(Protocol):
    async def read(self, user_id: str, response_id: str) -> ReplayedEvents: ...
    async def fence(self, user_id: str, response_id: str, segment: int, gateway_id: str) -> bool: ...
    async def is_fenced(self, user_id: str, response_id: str, segment: int) -> bool: ...


class ResponseStore(Protocol):
    async def interrupted(self, user_id: str, response_id: str) -> InterruptedTurn: ...
    async def owner(self, user_id: str, response_id: str) -> tuple[str, int]: ...
    async def claim(self, user_id: str, response_id: str, gateway_id: str, segment: int) -> bool: ...


class Takeover:
    # A turn is listed before it is accepted. After this time an unknown one is dropped.
    accepting_seconds = 30.0

    def __init__(
        self,
        leases: Leases,
        segments: Segments,
        responses: ResponseStore,
        preparation: TurnPreparation,
        registry: TurnRegistry,
        writer: TurnLogWriter,
        *,
        gateway_id: str,
    ) -> None:
        self._leases = leases
        self._segments = segments
        self._responses = responses
        self._preparation = preparation
        self._registry = registry
        self._writer = writer
        self._gateway_id = gateway_id
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        # Turns that a bug keeps this gateway from taking over: they stay listed for another one.
        self._failed: set[tuple[str, str]] = set()
        # When a turn was first found to be listed and not accepted, by gateway, user and response.
        self._unaccepted_since: dict[tuple[str, str, str], float] = {}

    async def take_over_all(self, gateway_id: str) -> None:
        """All turns of a gateway without a lease. Raises Unavailable; the next sweep tries again."""
        listed = await self._leases.list_turns(gateway_id)
        still_listed = {(gateway_id, *turn) for turn in listed}
        for key in [key for key in self._unaccepted_since if key[0] == gateway_id and key not in still_listed]:
            del self._unaccepted_since[key]
        if not listed:
            await self._leases.forget_gateway(gateway_id)
            return
        random.shuffle(listed)  # other gateways work on the same list
        turns = [turn for turn in listed if turn not in self._failed]
        outcomes = await asyncio.gather(*(self._take_over(gateway_id, *turn) for turn in turns), return_exceptions=True)
        for turn, outcome in zip(turns, outcomes, strict=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, Unavailable):
                logger.error("a turn could not be taken over", exc_info=outcome, extra={"response": turn[1]})
                self._failed.add(turn)

    async def abandon_lost_turns(self) -> None:
        """After this gateway's lease had expired: a turn without new events would not notice that another gateway has
        taken it over, or that its response was deleted. Raises Unavailable."""
        for running in self._registry.stored:
            if await self._is_lost(running):
                running.log.fence_off()

    async def _is_lost(self, running: RunningTurn) -> bool:
        user_id, response_id, log = running.request.user_id, running.request.response_id, running.log
        if await self._segments.is_fenced(user_id, response_id, log.segment):
            return True
        try:
            owner, segment = await self._responses.owner(user_id, response_id)
        except NotFound:
            return True
        # A lower segment is an earlier owner's: this gateway's own claim was lost, and the next event restores it.
        return owner != self._gateway_id and segment >= log.segment

    async def _take_over(self, gateway_id: str, user_id: str, response_id: str) -> None:
        async with self._slots:
            try:
                is_done = await self._try_take_over(gateway_id, user_id, response_id)
            except NotFound:  # deleted meanwhile
                await self._leases.remove_turn(user_id, response_id)
                is_done = True
            if is_done:
                await self._leases.remove_turn(user_id, response_id, of=gateway_id)

    async def _try_take_over(self, gateway_id: str, user_id: str, response_id: str) -> bool:
        """False while the turn has to stay on the list of `gateway_id`."""
        try:
            interrupted = await self._responses.interrupted(user_id, response_id)
        except NotFound:
            return self._is_abandoned(gateway_id, user_id, response_id)
        replayed = await self._segments.read(user_id, response_id)
        if _has_ended(replayed):
            return True
        fenced_here = replayed.owner == self._gateway_id
        if fenced_here and self._registry.find(user_id, response_id) is not None:
            return True
        if not fenced_here and replayed.owner not in (None, gateway_id):
            return False  # its newer owner removes it once the turn runs there
        # Listed here first: if this gateway dies right after the fence, another one finds the turn.
        await self._leases.add_turn(user_id, response_id)
        if not fenced_here and not await self._segments.fence(user_id, response_id, replayed.segment, self._gateway_id):
            await self._leases.remove_turn(user_id, response_id)
            # The owner itself may have added a fence, to restore what Redis had lost: then it still has the turn.
            return (await self._segments.read(user_id, response_id)).owner != gateway_id
        segment = replayed.segment if fenced_here else replayed.segment + 1
        is_claimed = await self._responses.claim(user_id, response_id, self._gateway_id, segment)
        # Read again: until the fence the earlier owner could add events, and end the turn; after a long pause of this
        # gateway the turn may have yet another owner.
        replayed = await self._segments.read(user_id, response_id)
        if not is_claimed or _has_ended(replayed) or replayed.owner != self._gateway_id:
            await self._leases.remove_turn(user_id, response_id)
        else:
            await self._resume(interrupted.request, interrupted.stored.input, replayed)
        return True

    def _is_abandoned(self, gateway_id: str, user_id: str, response_id: str) -> bool:
        """Never accepted, or deleted since, and listed for too long to be accepted any more."""
        now = time.monotonic()
        return (
            now - self._unaccepted_since.setdefault((gateway_id, user_id, response_id), now) >= self.accepting_seconds
        )

    async def _resume(self, request: TurnRequest, new: tuple[Item, ...], replayed: ReplayedEvents) -> None:
        frames = decode_frames(replayed.entries)
        failure: Failed | None = None
        try:
            prepared = await self._preparation.restore(request, new)
        except Unavailable:
            raise
        except ParleyError:
            logger.exception("the input of a turn cannot be read again", extra={"response": request.response_id})
            nothing = LoadedHistory(request.thread_id, ThreadSnapshot([], 1))
            prepared, failure = (
                PreparedTurn(Turn(request), nothing, new, PromptHistory((), ())),
                Failed(InternalError()),
            )
        for frame in frames:
            prepared.turn.replay(decode_event(frame))
        generation = _generation_of(replayed)
        # Last, and without any await from here on: a later cancel finds the turn running here.
        interrupted = await self._responses.interrupted(request.user_id, request.response_id)
        generation.reported = interrupted.stored.response.usage
        ending = _ending_of(interrupted, generation.usage) or failure
        log = self._writer.open(prepared.turn, replayed)
        running = RunningTurn(prepared, log, generation)
        if not frames:
            log.append(Created())
        logger.info("turn taken over", extra={"response": request.response_id, "events": len(frames)})
        self._registry.adopt(running, ending)


def _has_ended(replayed: ReplayedEvents) -> bool:
    return bool(replayed.entries) and is_terminal(replayed.entries[-1][1])


def _generation_of(replayed: ReplayedEvents) -> GenerationState:
    entries = [fields for _, fields in replayed.entries]
    ids, reason = token_ids(entries), finish_reason(entries)
    return GenerationState(ids, prompt_tokens=prompt_tokens(entries), finish_reason=reason)


def _ending_of(interrupted: InterruptedTurn, usage: Usage | None) -> Ending | None:
    """Of a turn whose answer is in history already, or that was cancelled; None if there is more to generate."""
    response, ago = interrupted.stored.response, interrupted.cancelled_ms_ago
    match response.status:
        case "completed":
            return Completed(response.usage, response.completed_at or int(time.time()))
        case "incomplete" if response.incomplete_details is not None:
            return Incomplete(response.incomplete_details.reason, response.usage)
        case "failed" if response.error is not None:
            return Failed(_error_of(response))
    return None if ago is None else Incomplete("cancelled", usage, ago)


def _error_of(response: Response) -> ParleyError:
    error: ParleyError = InternalError()
    if response.error is not None:
        error.message, error.code = response.error.message, response.error.code
    return error
