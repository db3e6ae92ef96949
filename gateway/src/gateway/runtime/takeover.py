"""Turns of a gateway that died, or gave them away, go on here: the same answer, behind the last event that was kept."""

import asyncio
import logging
import random
import time
from typing import Protocol

from gateway.errors import InternalError, NotFound, ParleyError, Unavailable
from gateway.protocol.events import decode_event
from gateway.protocol.items import Item
from gateway.protocol.resources import Response, Usage
from gateway.runtime.generation_loop import GenerationState
from gateway.runtime.preparation import PreparedTurn, ThreadContext, TurnPreparation
from gateway.runtime.registry import TurnRegistry
from gateway.runtime.running import RunningTurn
from gateway.store.history.responses import InterruptedTurn
from gateway.store.history.threads import ThreadSnapshot
from gateway.store.turn_log.fencing import ReplayedEvents
from gateway.store.turn_log.writer import Writer
from gateway.turn.log_entry import decode_frame, finish_reason, is_last, prompt_tokens, token_ids
from gateway.turn.state_machine import Completed, Created, Ending, Failed, Incomplete, Turn, TurnRequest

logger = logging.getLogger(__name__)

_AT_ONCE = 16


class Leases(Protocol):
    async def add(self, user_id: str, response_id: str) -> None: ...
    async def remove(self, user_id: str, response_id: str, *, of: str | None = None) -> None: ...
    async def turns(self, gateway_id: str) -> list[tuple[str, str]]: ...
    async def is_alive(self, gateway_id: str) -> bool: ...
    async def forget(self, gateway_id: str) -> None: ...


class Segments(Protocol):
    async def read(self, user_id: str, response_id: str) -> ReplayedEvents: ...
    async def fence(self, user_id: str, response_id: str, segment: int, gateway_id: str) -> bool: ...
    async def is_fenced(self, user_id: str, response_id: str, segment: int, *, has_entries: bool) -> bool: ...


class ResponseStore(Protocol):
    async def interrupted(self, user_id: str, response_id: str) -> InterruptedTurn: ...
    async def claim(self, user_id: str, response_id: str, gateway_id: str, segment: int) -> bool: ...


class Takeover:
    # A turn is listed before it is accepted: one that is not known yet may still be, for so long.
    accepting_seconds = 30.0

    def __init__(
        self,
        ownership: Leases,
        segments: Segments,
        responses: ResponseStore,
        acceptance: TurnPreparation,
        turns: TurnRegistry,
        writer: Writer,
        *,
        gateway_id: str,
    ) -> None:
        self._ownership = ownership
        self._segments = segments
        self._responses = responses
        self._acceptance = acceptance
        self._turns = turns
        self._writer = writer
        self._gateway_id = gateway_id
        self._places = asyncio.Semaphore(_AT_ONCE)
        # What a bug keeps us from taking: it stays listed, for a gateway that does better.
        self._hopeless: set[tuple[str, str]] = set()
        # When a turn of a gateway was first found to be listed only.
        self._listed_only: dict[tuple[str, str, str], float] = {}

    async def of(self, gateway_id: str) -> None:
        """All turns of a gateway without a lease. Raises Unavailable; then the next sweep tries again."""
        listed = await self._ownership.turns(gateway_id)
        still = {(gateway_id, *one) for one in listed}
        for gone in [one for one in self._listed_only if one[0] == gateway_id and one not in still]:
            del self._listed_only[gone]
        if not listed:
            await self._ownership.forget(gateway_id)
            return
        random.shuffle(listed)  # other gateways take theirs from the same list
        wanted = [one for one in listed if one not in self._hopeless]
        taken = await asyncio.gather(*(self._one(gateway_id, *one) for one in wanted), return_exceptions=True)
        for one, outcome in zip(wanted, taken, strict=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, Unavailable):
                logger.error("a turn could not be taken over", exc_info=outcome, extra={"response": one[1]})
                self._hopeless.add(one)

    async def lose_what_others_took(self) -> None:
        """Of our own, while our lease had lapsed: a turn that says nothing would not notice. Raises Unavailable."""
        for running in self._turns.stored:
            request, log = running.request, running.log
            if await self._segments.is_fenced(
                request.user_id, request.response_id, log.segment, has_entries=log.has_entries
            ):
                running.log.fence_off()

    async def _one(self, gateway_id: str, user_id: str, response_id: str) -> None:
        async with self._places:
            try:
                taken = await self._take(gateway_id, user_id, response_id)
            except NotFound:  # deleted meanwhile
                await self._ownership.remove(user_id, response_id)
                taken = True
            if taken:
                await self._ownership.remove(user_id, response_id, of=gateway_id)

    async def _take(self, gateway_id: str, user_id: str, response_id: str) -> bool:
        """False while its list has to keep it."""
        try:
            interrupted = await self._responses.interrupted(user_id, response_id)
        except NotFound:
            return self._stays_unknown(gateway_id, user_id, response_id)
        told = await self._segments.read(user_id, response_id)
        if _has_ended(told):
            return True
        sealed_here = told.owner == self._gateway_id
        if sealed_here and self._turns.running(user_id, response_id) is not None:
            return True
        if not sealed_here and told.owner not in (None, gateway_id):
            return False  # its newer owner removes it, once it has got as far as running it
        # Listed here first: whoever takes it and dies at once leaves it to be found.
        await self._ownership.add(user_id, response_id)
        if not sealed_here and not await self._segments.fence(user_id, response_id, told.segment, self._gateway_id):
            await self._ownership.remove(user_id, response_id)
            return True
        segment = told.segment if sealed_here else told.segment + 1
        ours = await self._responses.claim(user_id, response_id, self._gateway_id, segment)
        # Read again: until now the earlier owner could add to it, and end it; were we slow, it is another's by now.
        told = await self._segments.read(user_id, response_id)
        if not ours or _has_ended(told) or told.owner != self._gateway_id:
            await self._ownership.remove(user_id, response_id)
        else:
            await self._go_on(interrupted.request, interrupted.stored.input, told)
        return True

    def _stays_unknown(self, gateway_id: str, user_id: str, response_id: str) -> bool:
        """Never accepted, or deleted since, and old enough not to be accepted any more."""
        now = time.monotonic()
        return now - self._listed_only.setdefault((gateway_id, user_id, response_id), now) >= self.accepting_seconds

    async def _go_on(self, request: TurnRequest, asked: tuple[Item, ...], told: ReplayedEvents) -> None:
        entries = told.entries
        frames = [decode_frame(entry_id, fields) for entry_id, fields in entries]
        lost: Failed | None = None
        try:
            accepted = await self._acceptance.again(request, asked)
        except Unavailable:
            raise
        except ParleyError:
            logger.exception("what was asked can not be read again", extra={"response": request.response_id})
            nothing = ThreadContext(request.thread, ThreadSnapshot([], 1))
            accepted, lost = PreparedTurn(Turn(request), nothing, asked, ()), Failed(InternalError())
        for frame in frames:
            accepted.turn.replay(decode_event(frame))
        produced = _produced(told)
        # Last, and nothing is waited for from here on: whoever stops it later finds it running here.
        interrupted = await self._responses.interrupted(request.user_id, request.response_id)
        produced.told = interrupted.stored.response.usage
        ending = _ending(interrupted, produced.usage) or lost
        log = self._writer.open(accepted.turn, segment=told.segment, told=frames)
        running = RunningTurn(accepted, log, produced)
        if not frames:
            log.append(Created())
        logger.info("turn taken over", extra={"response": request.response_id, "events": len(frames)})
        self._turns.adopt(running, ending)


def _has_ended(told: ReplayedEvents) -> bool:
    return bool(told.entries) and is_last(told.entries[-1][1])


def _produced(told: ReplayedEvents) -> GenerationState:
    fields = [one for _, one in told.entries]
    return GenerationState(token_ids(fields), prompt_tokens=prompt_tokens(fields), reason=finish_reason(fields))


def _ending(interrupted: InterruptedTurn, usage: Usage | None) -> Ending | None:
    """Of a turn whose answer was in history already, or that somebody has stopped; None: there is more to say."""
    response, ago = interrupted.stored.response, interrupted.cancelled_ms_ago
    match response.status:
        case "completed":
            return Completed(response.usage, response.completed_at or int(time.time()))
        case "incomplete" if response.incomplete_details is not None:
            return Incomplete(response.incomplete_details.reason, response.usage)
        case "failed" if response.error is not None:
            return Failed(_error(response))
    return None if ago is None else Incomplete("cancelled", usage, ago)


def _error(response: Response) -> ParleyError:
    error: ParleyError = InternalError()
    if response.error is not None:
        error.message, error.code = response.error.message, response.error.code
    return error
