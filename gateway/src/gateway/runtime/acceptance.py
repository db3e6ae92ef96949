"""Accepts a request exactly once: its input is stored, then its turn starts."""

import asyncio
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import anyio

from gateway.errors import NotFound, ShuttingDown, StorageLimit, Unavailable
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_response_id
from gateway.runtime.concurrency_limit import ConcurrencyLimit
from gateway.runtime.history_loader import UnstoredHistory
from gateway.runtime.idempotency import check_same_request
from gateway.runtime.ports import ResponseStore, TurnStore
from gateway.runtime.preparation import PreparedTurn, TurnPreparation
from gateway.runtime.registry import TurnRegistry
from gateway.runtime.running import RunningTurn
from gateway.runtime.turn_list import TurnList
from gateway.turn.records import ChainMovedOn, Reservation, TurnRecord

_RETRY_SECONDS = 0.5
_NO_HISTORY: UnstoredHistory = {}


@dataclass(frozen=True, slots=True)
class StartedTurn:
    """`running` is None for a request that was accepted before and does not run on this gateway."""

    response_id: str
    running: RunningTurn | None


class TurnAcceptance:
    # Shorter than Takeover.accepting_seconds, after which other gateways drop a turn that is listed and not accepted.
    listed_seconds = 10.0

    def __init__(
        self,
        preparation: TurnPreparation,
        store: TurnStore,
        responses: ResponseStore,
        turn_list: TurnList,
        registry: TurnRegistry,
        answers: ConcurrencyLimit,
        *,
        gateway_id: str,
    ) -> None:
        self._preparation = preparation
        self._store = store
        self._responses = responses
        self._turn_list = turn_list
        self._registry = registry
        self._answers = answers
        self._gateway_id = gateway_id

    async def start(
        self,
        user_id: str,
        create: ResponseCreate,
        unstored: UnstoredHistory = _NO_HISTORY,
        *,
        idempotency_key: str | None = None,
    ) -> StartedTurn:
        """Stores the input exactly once for each `idempotency_key` and starts the turn.

        Raises what TurnPreparation.prepare raises, TooManyRequests, StorageLimit, IdempotencyKeyReused and
        ShuttingDown; then nothing was accepted. After Unavailable something may have been: a retry with the same key
        finds out.
        """
        # Shielded: the request is accepted even if its client disconnects, and the client finds the answer later.
        with anyio.CancelScope(shield=True):
            started = await self._start(user_id, create, unstored, idempotency_key)
        return started  # noqa: RET504 - mypy: a scope may swallow what leaves it

    async def _start(
        self, user_id: str, create: ResponseCreate, unstored: UnstoredHistory, idempotency_key: str | None
    ) -> StartedTurn:
        self._check_open()
        # First: an accepted request is found, whatever has happened to the engine or the conversation since.
        if idempotency_key is not None:
            earlier = await self._store.find_accepted(user_id, idempotency_key)
            if earlier is not None:
                return await self._started_before(user_id, create, earlier)
        with ExitStack() as held:
            held.callback(self._answers.acquire(user_id))
            if create.stored:
                return await self._start_stored(user_id, create, unstored, idempotency_key, held)
            prepared = await self._preparation.prepare(user_id, create, unstored, response_id=new_response_id())
            return self._begin(prepared, held)

    async def _start_stored(
        self,
        user_id: str,
        create: ResponseCreate,
        unstored: UnstoredHistory,
        idempotency_key: str | None,
        held: ExitStack,
    ) -> StartedTurn:
        began, response_id = time.monotonic(), new_response_id()
        prepared, reservation = await self._prepare_listed(user_id, create, unstored, response_id)
        try:
            prepared, accepted_id = await self._accept(prepared, reservation, idempotency_key)
        except (NotFound, StorageLimit):
            await self._give_up(response_id, reservation)
            raise
        if accepted_id != response_id:
            await self._give_up(response_id, reservation)
            return await self._started_before(user_id, create, accepted_id)
        if time.monotonic() - began > self.listed_seconds:
            await self._turn_list.add_again(user_id, response_id)
        return self._begin(prepared, held)

    def _begin(self, prepared: PreparedTurn, held: ExitStack) -> StartedTurn:
        """What is `held` for the turn is released at its end."""
        running = self._registry.begin(prepared, held.pop_all())
        return StartedTurn(prepared.turn.request.response_id, running)

    async def _accept(
        self, prepared: PreparedTurn, reservation: Reservation, idempotency_key: str | None
    ) -> tuple[PreparedTurn, str]:
        """Returns what was accepted, which begins a new chain if its own has moved on, and the id of its response."""
        try:
            return prepared, await self._store.accept(self._record(prepared, reservation, idempotency_key))
        except ChainMovedOn:
            return await self._accept(prepared.in_new_chain(), reservation, idempotency_key)
        except Unavailable:
            self._registry.run_in_background(self._start_if_accepted(prepared, reservation))
            raise

    async def _started_before(self, user_id: str, create: ResponseCreate, response_id: str) -> StartedTurn:
        """Raises IdempotencyKeyReused."""
        try:
            first = await self._responses.find(user_id, response_id)
        except NotFound:
            pass  # deleted since: its follower gets NotFound
        else:
            check_same_request(create, first)
        return StartedTurn(response_id, self._registry.find(user_id, response_id))

    async def _prepare_listed(
        self, user_id: str, create: ResponseCreate, unstored: UnstoredHistory, response_id: str
    ) -> tuple[PreparedTurn, Reservation]:
        """Lists the turn as this gateway's and reserves room for it while its history is read. Raises StorageLimit."""
        listing = asyncio.ensure_future(self._turn_list.add(user_id, response_id))
        reserving = asyncio.ensure_future(self._store.reserve(user_id, create))
        try:
            prepared = await self._preparation.prepare(user_id, create, unstored, response_id=response_id)
            await listing
            reservation = await reserving
            self._check_open()
        except Exception:  # also a bug: a listed turn keeps its user's data from being erased
            _, reserved = await asyncio.gather(listing, reserving, return_exceptions=True)
            if isinstance(reserved, Reservation):
                await self._give_up(response_id, reserved)
            else:
                await self._turn_list.remove(user_id, response_id)
            raise
        return prepared, reservation

    def _check_open(self) -> None:
        if self._registry.is_closed:
            raise ShuttingDown

    async def _give_up(self, response_id: str, reservation: Reservation) -> None:
        """Nothing was accepted."""
        await self._turn_list.remove(reservation.user_id, response_id)
        with suppress(Unavailable):
            await self._store.release(reservation)

    def _record(self, prepared: PreparedTurn, reservation: Reservation, idempotency_key: str | None) -> TurnRecord:
        history = prepared.history
        if history.thread_id is None:
            raise ValueError("a stored turn has a thread")
        return TurnRecord(
            request=prepared.turn.request,
            thread_id=history.thread_id,
            response=prepared.turn.response("in_progress"),
            input=prepared.input,
            owner=self._gateway_id,
            path=history.snapshot.path,
            idempotency_key=idempotency_key,
            reservation=reservation,
        )

    async def _start_if_accepted(self, prepared: PreparedTurn, reservation: Reservation) -> None:
        """Redis may have stored the turn before it became unreachable. Then the turn runs, as after a takeover."""
        request = prepared.turn.request
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            try:
                await self._responses.find(request.user_id, request.response_id)
            except Unavailable:
                continue
            except NotFound:
                await self._give_up(request.response_id, reservation)
            else:
                self._registry.begin(prepared)
            return
