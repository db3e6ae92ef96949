"""A replica on a real Redis, and an engine that plays what it is given."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from redis.asyncio import Redis

from gateway.context.defaults import Defaults
from gateway.context.prompt import TokenCount
from gateway.inference import (
    EngineEvent,
    Finished,
    OutputOptions,
    PromptMessage,
    PromptTokens,
    ReasoningTextDelta,
    Sampling,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from gateway.protocol.create import ResponseCreate
from gateway.protocol.resources import Usage
from gateway.runtime.compaction import Compaction
from gateway.runtime.following import ResponseFollower
from gateway.runtime.preparation import TurnPreparation
from gateway.runtime.registry import TurnRegistry
from gateway.runtime.retry_policy import RetryPolicy
from gateway.runtime.running import RunningTurn, TurnRunner
from gateway.runtime.user_encryption import UserEncryption
from gateway.store.history.responses import ResponseStore
from gateway.store.history.threads import TurnStore
from gateway.store.leases import Leases
from gateway.store.turn_log.reader import BLOCK_SECONDS, Reader
from gateway.store.turn_log.writer import Writer
from tests.gateway.builders import SAMPLING, Wire, connection, working

DEFAULTS = Defaults("be kind", SAMPLING)
PATIENCE = RetryPolicy(engine_seconds=0.5, token_seconds=5)
PROMPT_IDS = (1, 2, 3)
SEAL = UserEncryption(b"k" * 32)


def spoken(text: str, reason: Literal["stop", "length"] = "stop") -> tuple[EngineEvent, ...]:
    """Letter by letter, each a token."""
    letters = [TextDelta(letter, (ord(letter),)) for letter in text]
    return PromptTokens(PROMPT_IDS), *letters, Finished(reason), UsageReport(_usage(0, len(text)))


class FakeEngine:
    """Plays `events` and goes on behind the ids it is given; at the end of a stream it raises the next of `faults`.

    With `hold` it waits behind the first piece. A byte is a token, and so is a letter that it says.
    """

    def __init__(self, *events: EngineEvent, faults: Sequence[Exception] = (), limit: int = 4096) -> None:
        self.events = events or spoken("ok")
        self.faults = list(faults)
        self.size = limit
        self.hold: asyncio.Event | None = None
        self.closed = asyncio.Event()
        self.counted = 0
        self.asked: list[tuple[tuple[PromptMessage, ...], Sampling, OutputOptions]] = []
        self.resumed: list[tuple[int, ...]] = []
        self.has_healthy = False

    async def model(self) -> str:
        return "parley-demo"

    async def limit(self) -> int | None:
        return self.size

    async def count(
        self, prompts: tuple[PromptMessage, ...], wanted: OutputOptions, *, affinity: str
    ) -> TokenCount | None:
        self.counted += 1
        return TokenCount(_tokens(prompts), self.size)

    async def prompt_ids(
        self, prompts: tuple[PromptMessage, ...], wanted: OutputOptions, *, affinity: str
    ) -> tuple[int, ...]:
        return PROMPT_IDS

    async def detokenize(self, token_ids: Sequence[int], *, affinity: str) -> str:
        return "".join(chr(one) for one in token_ids)

    async def probe(self) -> None:
        """It serves."""

    def stream(
        self,
        prompts: tuple[PromptMessage, ...],
        sampling: Sampling,
        wanted: OutputOptions,
        *,
        user_id: str,
        request_id: str,
        affinity: str,
    ) -> AsyncGenerator[EngineEvent]:
        self.asked.append((prompts, sampling, wanted))
        return self._play((), _tokens(prompts))

    def resume(
        self, token_ids: Sequence[int], sampling: Sampling, *, user_id: str, request_id: str, affinity: str
    ) -> AsyncGenerator[EngineEvent]:
        said = tuple(token_ids[len(PROMPT_IDS) :])
        self.resumed.append(said)
        return self._play(said, len(token_ids))

    async def _play(self, said: Sequence[int], read: int) -> AsyncGenerator[EngineEvent]:
        fault = self.faults.pop(0) if self.faults else None
        left = len(said)
        try:
            await asyncio.sleep(0)  # a network in between
            for event in self.events:
                if isinstance(event, TextDelta | ReasoningTextDelta | ToolCallDelta) and left:
                    left -= len(event.token_ids)
                    continue
                if fault is not None and isinstance(event, Finished):
                    raise fault
                yield UsageReport(_usage(read, event.usage.output_tokens)) if isinstance(event, UsageReport) else event
                if self.hold is not None and isinstance(event, TextDelta | ReasoningTextDelta | ToolCallDelta):
                    await self.hold.wait()
        finally:
            self.closed.set()

    @property
    def texts(self) -> list[str]:
        """Of the last prompt."""
        return [prompt.text for prompt in self.asked[-1][0]]


def _tokens(prompts: tuple[PromptMessage, ...]) -> int:
    return sum(len(prompt.text.encode()) for prompt in prompts)


def _usage(read: int, said: int) -> Usage:
    return Usage(read, said, read + said)


@dataclass
class UsageAndTitles:
    """What is done after a turn, for accounting and for titles."""

    used: list[tuple[str, Usage]] = field(default_factory=list)
    considered: list[tuple[str, str, str, str]] = field(default_factory=list)

    async def add(self, user_id: str, usage: Usage) -> None:
        self.used.append((user_id, usage))

    def schedule(self, *told: str) -> None:
        self.considered.append((told[0], told[1], told[2], told[3]))


@dataclass
class Replica:
    redis: Redis
    engine: FakeEngine
    books: UsageAndTitles
    threads: TurnStore
    responses: ResponseStore
    acceptance: TurnPreparation
    reader: Reader
    turns: TurnRegistry
    following: ResponseFollower
    compaction: Compaction

    async def begun(self, create: ResponseCreate, user_id: str = "user_1") -> RunningTurn:
        running = (await self.turns.start(user_id, create)).running
        assert running is not None
        return running

    async def answered(self, create: ResponseCreate, user_id: str = "user_1") -> list[Wire]:
        return await followed(await self.begun(create, user_id))


async def followed(running: RunningTurn) -> list[Wire]:
    return [json.loads(text) async for text in running.log.frames.follow()]


@asynccontextmanager
async def replica(
    port: int,
    engine: FakeEngine | None = None,
    *,
    threads: type[TurnStore] = TurnStore,
    name: str = "g1",
    defaults: Defaults = DEFAULTS,
    patience: RetryPolicy = PATIENCE,
) -> AsyncIterator[Replica]:
    async with connection(port) as redis, connection(port, BLOCK_SECONDS + 2) as blocking:
        engine, books = engine or FakeEngine(), UsageAndTitles()
        kept, responses = threads(redis, retention_seconds=60), ResponseStore(redis)
        acceptance = TurnPreparation(engine, kept, responses, defaults=defaults, seal=SEAL)
        writer, reader = Writer(redis, retention_seconds=60), Reader(redis, blocking, name)
        runner, ownership = TurnRunner(engine, kept, books, books, patience, gateway_id=name), Leases(redis, name)
        turns = TurnRegistry(acceptance, kept, responses, ownership, runner, writer, gateway_id=name)
        following = ResponseFollower(turns, responses, reader)
        compaction = Compaction(engine, kept, responses, books, SEAL)

        def obey(wish: dict[str, str]) -> None:
            if "cancel" in wish:
                turns.stop(wish["cancel"], int(wish["wished_ms"]))

        async with working(writer.run()), working(reader.run(obey)):
            try:
                yield Replica(redis, engine, books, kept, responses, acceptance, reader, turns, following, compaction)
            finally:
                await turns.release()
