"""One experiment: many running answers, one fault at a random token, and its outcome."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.chaos import logs
from tests.chaos.clients import Follower
from tests.chaos.engine_runs import EngineRuns
from tests.chaos.environment import Environment
from tests.chaos.faults import Fault
from tests.chaos.oracle import Evidence, judge
from tests.chaos.outcome import Outcome
from tests.chaos.questions import Question
from tests.chaos.recording import Frame, Recording
from tests.chaos.transports import TRANSPORTS, StockSdk, Transport

# An answer without an ending by then is stuck.
_STUCK_AFTER_SECONDS = 90.0
# The share of questions that are sent during the fault.
_LATE_SHARE = 1 / 5
_FIRST_EVENTS = 4


@dataclass(slots=True)
class Exchange:
    """A question in a conversation of its own, the client that sent it, and another client that follows it."""

    question: Question
    conversation_id: str
    asker: Follower
    watcher: Follower

    @property
    def recordings(self) -> list[Recording]:
        return [self.asker.recording, self.watcher.recording]

    async def run(self, asked: asyncio.Event) -> None:
        body = {
            "input": self.question.prompt,
            "conversation": self.conversation_id,
            "temperature": 0,
            "metadata": {"client_message_id": self.conversation_id},
        }
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.asker.ask(body))
            await asked.wait()
            response_id = self.asker.recording.response_id
            assert response_id is not None
            tasks.create_task(self.watcher.follow(response_id))


class Experiment:
    def __init__(
        self,
        environment: Environment,
        fault: Fault,
        rng: random.Random,
        questions: Sequence[Question],
        *,
        stock_sdk: bool = False,
    ) -> None:
        """`stock_sdk`: all followers are OpenAI's own client."""
        self._ground = environment
        self._fault = fault
        self._rng = rng
        self._questions = questions
        self._stock_sdk = stock_sdk

    async def run(self) -> Outcome:
        """Afterwards every process runs again."""
        async with AsyncExitStack() as open_:
            api = await open_.enter_async_context(self._ground.endpoint.api())
            exchanges = [await self._exchange(api, question) for question in self._questions]
            runs = None
            if self._ground.stack.plan.engine == "scripted":
                runs = await open_.enter_async_context(EngineRuns(self._ground.engine.command.port))
            await self._inject_amid(exchanges)
            await self._ground.restore()
            return await self._judged(api, exchanges, runs)

    async def _exchange(self, api: httpx2.AsyncClient, question: Question) -> Exchange:
        made = await api.post("/conversations", json={})
        made.raise_for_status()
        kinds = [StockSdk, StockSdk] if self._stock_sdk else self._rng.sample(TRANSPORTS, 2)
        followers = [self._follower(make(self._ground.endpoint, api)) for make in kinds]
        return Exchange(question, made.json()["id"], *followers)

    def _follower(self, transport: Transport) -> Follower:
        leaves = (lambda: self._rng.randint(1, 12)) if self._fault.disconnects_clients else None
        return Follower(
            transport, Recording(transport.name, verbatim=not self._stock_sdk), self._rng, disconnect_after=leaves
        )

    async def _inject_amid(self, exchanges: list[Exchange]) -> None:
        late = int(len(exchanges) * _LATE_SHARE)
        early = exchanges[late:]
        tasks = [asyncio.create_task(self._run(one)) for one in early]
        chosen = self._rng.choice(early)
        # At a random token of this answer, and so at a random token of the others.
        at = _FIRST_EVENTS + self._rng.randint(1, max(2, len(chosen.question.answer) // 2))
        await _reached(chosen.asker, at)
        tasks += [asyncio.create_task(self._run(one)) for one in exchanges[:late]]
        await self._fault.inject(self._ground)
        done, stuck = await asyncio.wait(tasks, timeout=_STUCK_AFTER_SECONDS)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        for task in done:
            task.result()

    async def _run(self, exchange: Exchange) -> None:
        accepted = asyncio.Event()
        previous = exchange.asker.seen

        def seen(frame: Frame) -> None:
            accepted.set()
            previous(frame)

        exchange.asker.seen = seen
        await exchange.run(accepted)

    async def _judged(self, api: httpx2.AsyncClient, exchanges: list[Exchange], runs: EngineRuns | None) -> Outcome:
        outcome = Outcome(self._fault.name, fault_count=self._fault.count)
        async with self._ground.redis() as redis:
            for exchange in exchanges:
                evidence = await self._evidence(api, redis, exchange, runs)
                outcome.add(evidence, judge(evidence))
        if self._fault.disconnects_clients:
            outcome.fault_count = outcome.connections - outcome.followers
        return outcome

    async def _evidence(
        self, api: httpx2.AsyncClient, redis: Any, exchange: Exchange, runs: EngineRuns | None
    ) -> Evidence:
        path = f"/conversations/{exchange.conversation_id}/items"
        items = (await api.get(path, params={"order": "asc", "limit": 100})).raise_for_status().json()["data"]
        response_id = exchange.asker.recording.response_id
        found = []
        if response_id is not None:
            found = await logs.segments(redis, await logs.owner_of(redis, response_id), response_id)
        return Evidence(
            exchange.question.prompt,
            exchange.question.answer,
            exchange.recordings,
            items,
            found,
            runs.maximum(response_id) if runs is not None and response_id is not None else 0,
            2 if self._fault.allows_two_runs else 1,
        )


async def _reached(follower: Follower, number: int) -> None:
    """Returns at that event, or at the end of the answer."""
    there = asyncio.Event()
    previous = follower.seen

    def seen(frame: Frame) -> None:
        previous(frame)
        if frame.number >= number or frame.is_terminal:
            there.set()

    follower.seen = seen
    await there.wait()
