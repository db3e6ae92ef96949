"""The turns that run in this process.

Each runs in a task of its own: nobody has to be listening for it to finish, and a closed socket stops nothing.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import anyio

from gateway.errors import NotFound, ParleyError, ShuttingDown, Unavailable
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_response_id
from gateway.runtime.idempotency import check_same_request
from gateway.runtime.listing import Listing
from gateway.runtime.ports import Leases, ResponseStore, TurnStore
from gateway.runtime.preparation import PreparedTurn, TurnPreparation, UnstoredHistory
from gateway.runtime.running import RunningTurn, TurnRunner
from gateway.store.history.threads import TurnRecord
from gateway.store.turn_log.writer import Writer
from gateway.turn.state_machine import Created, Ending

logger = logging.getLogger(__name__)

# What a stopped turn may take to save its text while the process goes: Docker kills after 15 s in all.
_LAST_WORDS_SECONDS = 4.0
_ASK_AGAIN_SECONDS = 0.5
_NOTHING: UnstoredHistory = {}


@dataclass(frozen=True, slots=True)
class StartedTurn:
    """`running` is None when the same was asked before: then it runs, or has run, wherever it was accepted."""

    response_id: str
    running: RunningTurn | None


class TurnRegistry:
    # Less than a taker leaves a turn listed that is not accepted yet.
    listed_seconds = 10.0

    def __init__(
        self,
        acceptance: TurnPreparation,
        threads: TurnStore,
        responses: ResponseStore,
        ownership: Leases,
        runner: TurnRunner,
        writer: Writer,
        *,
        gateway_id: str,
    ) -> None:
        self._acceptance = acceptance
        self._threads = threads
        self._responses = responses
        self._listing = Listing(ownership)
        self._runner = runner
        self._writer = writer
        self._gateway_id = gateway_id
        self._running: dict[str, RunningTurn] = {}
        self._closed = self._leaving = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(
        self,
        user_id: str,
        create: ResponseCreate,
        remembered: UnstoredHistory = _NOTHING,
        *,
        idempotency_key: str | None = None,
    ) -> StartedTurn:
        """Stores the input exactly once for each `idempotency_key` and starts the answer.

        Raises what TurnPreparation.prepare raises. Nothing was accepted in this case, unless Redis became unreachable
        halfway: a retry with the same `idempotency_key` finds out.
        """
        # Whoever hangs up in the middle of this has asked all the same, and finds the answer later.
        with anyio.CancelScope(shield=True):
            answer = await self._start(user_id, create, remembered, idempotency_key)
        return answer  # noqa: RET504 - mypy: a scope may swallow what leaves it

    async def _start(
        self, user_id: str, create: ResponseCreate, remembered: UnstoredHistory, idempotency_key: str | None
    ) -> StartedTurn:
        if self._closed:
            raise ShuttingDown
        # First: what was accepted is found, whatever has happened to the engine or the conversation since.
        if (
            idempotency_key is not None
            and (earlier := await self._threads.find_accepted(user_id, idempotency_key)) is not None
        ):
            return await self._again(user_id, create, earlier)
        response_id, began = new_response_id(), time.monotonic()
        if not create.stored:
            accepted = await self._acceptance.prepare(user_id, create, remembered, response_id=response_id)
            return StartedTurn(response_id, self._begin(accepted))
        accepted = await self._prepare(user_id, create, remembered, response_id)
        record = self._record(accepted, idempotency_key)
        try:
            kept = await self._threads.accept(record)
        except Unavailable:
            self._later(self._find_out(accepted))
            raise
        except NotFound:
            await self._listing.remove(user_id, response_id)
            raise
        if kept != response_id:
            await self._listing.remove(user_id, response_id)
            return await self._again(user_id, create, kept)
        if time.monotonic() - began > self.listed_seconds:
            await self._listing.add_again(user_id, response_id)
        return StartedTurn(response_id, self._begin(accepted))

    async def _again(self, user_id: str, create: ResponseCreate, earlier: str) -> StartedTurn:
        """Raises IdempotencyKeyReused."""
        try:
            first = await self._responses.get(user_id, earlier)
        except NotFound:
            pass  # deleted since: whoever follows it hears that
        else:
            check_same_request(create, first)
        return StartedTurn(earlier, self.running(user_id, earlier))

    async def _prepare(
        self, user_id: str, create: ResponseCreate, remembered: UnstoredHistory, response_id: str
    ) -> PreparedTurn:
        """Listed as ours before it is accepted, at the same time as what it goes on from is read."""
        listing = asyncio.ensure_future(self._listed(user_id, response_id))
        try:
            accepted = await self._acceptance.prepare(user_id, create, remembered, response_id=response_id)
            await listing
            if self._closed:
                raise ShuttingDown
        except ParleyError:
            await asyncio.gather(listing, return_exceptions=True)
            await self._listing.remove(user_id, response_id)
            raise
        return accepted

    async def _listed(self, user_id: str, response_id: str) -> None:
        """If there is room for it. Nothing of this goes on behind its end."""
        asked = self._listing.add(user_id, response_id), self._threads.check_quota(user_id)
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def adopt(self, running: RunningTurn, ending: Ending | None) -> None:
        """Goes on with a turn that another gateway has begun, or has had meanwhile."""
        if (earlier := self._running.get(running.request.response_id)) is not None:
            earlier.log.fence_off()
        self._spawn(running, ending)

    def running(self, user_id: str, response_id: str) -> RunningTurn | None:
        """None for a foreign one as for one that does not run here."""
        running = self._running.get(response_id)
        return running if running is not None and running.request.user_id == user_id else None

    @property
    def stored(self) -> list[RunningTurn]:
        return [running for running in self._running.values() if running.request.stored]

    def stop(self, response_id: str, requested_at_ms: int | None = None) -> None:
        """A no-op for a turn that does not run here. `requested_at_ms`: Unix milliseconds, None for now."""
        running = self._running.get(response_id)
        if running is not None:
            running.stop(0.0 if requested_at_ms is None else max(0.0, time.time() - requested_at_ms / 1000))

    def close(self) -> None:
        """No new ones from here on."""
        self._closed = True

    async def finish(self, seconds: float) -> None:
        """Lets the running turns come to their end."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def release(self) -> None:
        """Lets go of all: the stored ones for another gateway, the others for good."""
        self._leaving = True
        for running in tuple(self._running.values()):
            _let_go(running)
        if self._tasks:
            _, silent = await asyncio.wait(self._tasks, timeout=_LAST_WORDS_SECONDS)
            for task in silent:
                task.cancel()
            await asyncio.gather(*silent, return_exceptions=True)

    def _record(self, accepted: PreparedTurn, idempotency_key: str | None) -> TurnRecord:
        return TurnRecord(
            request=accepted.turn.request,
            response=accepted.turn.response("in_progress"),
            asked=accepted.asked,
            owner=self._gateway_id,
            before=accepted.context.said.before if accepted.context.copied else (),
            idempotency_key=idempotency_key,
        )

    async def _find_out(self, accepted: PreparedTurn) -> None:
        """Whether what Redis did not answer to was done: then the turn runs, as it would after our death."""
        request = accepted.turn.request
        while True:
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
            try:
                await self._responses.get(request.user_id, request.response_id)
            except Unavailable:
                continue
            except NotFound:
                await self._listing.remove(request.user_id, request.response_id)
            else:
                self._begin(accepted)
            return

    def _begin(self, accepted: PreparedTurn) -> RunningTurn:
        running = RunningTurn(accepted, self._writer.open(accepted.turn))
        running.log.append(Created())
        self._spawn(running, None)
        if self._leaving:  # it was accepted at that moment
            _let_go(running)
        return running

    def _spawn(self, running: RunningTurn, ending: Ending | None) -> None:
        response_id = running.request.response_id
        self._running[response_id] = running
        self._later(self._run(running, ending), name=response_id)

    async def _run(self, running: RunningTurn, ending: Ending | None) -> None:
        request = running.request
        try:
            await self._runner.run(running, ending)
        finally:
            ours = self._running.get(request.response_id) is running
            if ours:
                del self._running[request.response_id]
        if ours and request.stored and not running.released:
            await self._listing.remove(request.user_id, request.response_id)

    def _later(self, work: Coroutine[Any, Any, None], *, name: str | None = None) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, done: asyncio.Task[None]) -> None:
        self._tasks.discard(done)
        if not done.cancelled() and (exc := done.exception()) is not None:
            logger.error("a turn ended in a bug", exc_info=exc, extra={"task": done.get_name()})


def _let_go(running: RunningTurn) -> None:
    """For another gateway; what is stored nowhere, for good."""
    if running.request.stored:
        running.release()
    else:
        running.stop()
