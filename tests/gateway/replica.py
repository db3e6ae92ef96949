"""A gateway without its web server, on a real Redis, and an engine that streams what it is given."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from redis.asyncio import Redis

from gateway.context.defaults import Defaults
from gateway.inference import (
    EngineCall,
    EngineEvent,
    Finished,
    OutputOptions,
    PromptMessage,
    PromptTokens,
    ReasoningTextDelta,
    TextDelta,
    TokenizedPrompt,
    ToolCallDelta,
    UsageReport,
)
from gateway.protocol.create import ResponseCreate
from gateway.protocol.items import text_of
from gateway.protocol.resources import Usage
from gateway.runtime.acceptance import TurnAcceptance
from gateway.runtime.compaction import Compaction
from gateway.runtime.concurrency_limit import ConcurrencyLimit
from gateway.runtime.context_window import WindowSelection
from gateway.runtime.following import ResponseFollower
from gateway.runtime.history_loader import HistoryLoader
from gateway.runtime.preparation import TurnPreparation
from gateway.runtime.prompt_builder import PromptBuilder
from gateway.runtime.registry import TurnRegistry
from gateway.runtime.retry_policy import RetryPolicy
from gateway.runtime.running import RunningTurn, TurnRunner
from gateway.runtime.turn_list import TurnList
from gateway.runtime.user_encryption import UserEncryption
from gateway.store.history.conversations import Conversations
from gateway.store.history.history_reader import HistoryReader
from gateway.store.history.responses import ResponseStore
from gateway.store.history.turn_store import TurnStore
from gateway.store.leases import Leases
from gateway.store.turn_log.reader import BLOCK_SECONDS, Reader
from gateway.turn.commands import CancelTurn, GatewayCommand
from tests.gateway.builders import SAMPLING, Wire, background_task, connection, log_writer

DEFAULTS = Defaults("be kind", SAMPLING)
RETRY_POLICY = RetryPolicy(engine_seconds=0.5, token_seconds=5)
PROMPT_IDS = (1, 2, 3)
ENCRYPTION = UserEncryption(b"k" * 32)
REQUEST = ResponseCreate(input="go")


def text_stream(text: str, reason: Literal["stop", "length"] = "stop") -> tuple[EngineEvent, ...]:
    """A completion of single letters, each a token."""
    letters = [TextDelta(letter, (ord(letter),)) for letter in text]
    return PromptTokens(PROMPT_IDS), *letters, Finished(reason), UsageReport(_usage(0, len(text)))


class FakeEngine:
    """Streams `events` and continues after the ids it is given; at the end of a stream it raises the next of `faults`.

    With `hold` it waits after the first delta. A byte is a token, and so is a letter of its output.
    """

    def __init__(self, *events: EngineEvent, faults: Sequence[Exception] = (), limit: int = 4096) -> None:
        self.events = events or text_stream("ok")
        self.faults = list(faults)
        self.context_tokens = limit
        self.hold: asyncio.Event | None = None
        self.closed = asyncio.Event()
        self.tokenize_calls = 0
        self.calls: list[EngineCall] = []
        self.has_healthy = True

    async def model(self) -> str:
        return "parley-demo"

    async def context_limit(self) -> int | None:
        return self.context_tokens

    async def tokenize(
        self, prompt: tuple[PromptMessage, ...], options: OutputOptions, *, affinity: str
    ) -> TokenizedPrompt | None:
        self.tokenize_calls += 1
        return TokenizedPrompt(_tokens(prompt), self.context_tokens, PROMPT_IDS)

    async def detokenize(self, token_ids: Sequence[int], *, affinity: str) -> str:
        return "".join(chr(one) for one in token_ids)

    def stream(self, call: EngineCall) -> AsyncGenerator[EngineEvent]:
        self.calls.append(call)
        if call.token_ids:
            return self._play(call.token_ids[len(PROMPT_IDS) :], len(call.token_ids))
        return self._play((), _tokens(call.prompt))

    async def _play(self, generated: Sequence[int], prompt_tokens: int) -> AsyncGenerator[EngineEvent]:
        fault = self.faults.pop(0) if self.faults else None
        skipped = len(generated)
        try:
            await asyncio.sleep(0)  # a network in between
            for event in self.events:
                if isinstance(event, TextDelta | ReasoningTextDelta | ToolCallDelta) and skipped:
                    skipped -= len(event.token_ids)
                    continue
                if fault is not None and isinstance(event, Finished):
                    raise fault
                if isinstance(event, UsageReport):
                    yield UsageReport(_usage(prompt_tokens, event.usage.output_tokens))
                else:
                    yield event
                if self.hold is not None and isinstance(event, TextDelta | ReasoningTextDelta | ToolCallDelta):
                    await self.hold.wait()
        finally:
            self.closed.set()

    @property
    def prompt_calls(self) -> list[EngineCall]:
        """The calls with a prompt of messages."""
        return [call for call in self.calls if not call.token_ids]

    @property
    def continued_ids(self) -> list[tuple[int, ...]]:
        """The output ids of each continuation."""
        return [call.token_ids[len(PROMPT_IDS) :] for call in self.calls if call.token_ids]

    @property
    def prompt_texts(self) -> list[str]:
        """The texts of the last prompt."""
        return [message.text for message in self.prompt_calls[-1].prompt]


def _tokens(prompts: tuple[PromptMessage, ...]) -> int:
    return sum(len(prompt.text.encode()) for prompt in prompts)


def _usage(input_tokens: int, output_tokens: int) -> Usage:
    return Usage(input_tokens, output_tokens, input_tokens + output_tokens)


@dataclass
class RecordedUsage:
    added: list[tuple[str, Usage]] = field(default_factory=list)

    async def add(self, user_id: str, usage: Usage) -> None:
        self.added.append((user_id, usage))


@dataclass
class RecordedTitles:
    scheduled: list[tuple[str, str, str, str]] = field(default_factory=list)

    def schedule(self, user_id: str, conversation_id: str, question: str, answer: str) -> None:
        self.scheduled.append((user_id, conversation_id, question, answer))


@dataclass
class Replica:
    redis: Redis
    engine: FakeEngine
    usage: RecordedUsage
    titles: RecordedTitles
    history_reader: HistoryReader
    store: TurnStore
    responses: ResponseStore
    prompts: PromptBuilder
    preparation: TurnPreparation
    reader: Reader
    registry: TurnRegistry
    turns: TurnAcceptance
    following: ResponseFollower
    compaction: Compaction

    async def create_conversation(self, user_id: str = "user_1") -> str:
        return (await Conversations(self.redis).create(user_id, {})).id

    async def stored_texts(self, conversation_id: str, user_id: str = "user_1") -> list[str]:
        page = await Conversations(self.redis).items.page(user_id, conversation_id, limit=100, after=None, order="asc")
        return [text_of(item) for item in page.data]

    async def begin_turn(self, create: ResponseCreate, user_id: str = "user_1") -> RunningTurn:
        running = (await self.turns.start(user_id, create)).running
        assert running is not None
        return running

    async def begin_held_turn(self, create: ResponseCreate = REQUEST) -> RunningTurn:
        """A turn that waits after its first letter has been sent, until `proceed`."""
        self.engine.hold = asyncio.Event()
        running = await self.begin_turn(create)
        while len(running.log.events) < 5:
            await asyncio.sleep(0.005)
        return running

    def proceed(self) -> None:
        assert self.engine.hold is not None
        self.engine.hold.set()

    async def followed_events(self, response_id: str) -> list[Wire]:
        return [json.loads(text) async for text in self.following.follow("user_1", response_id)]

    async def run_turn(self, create: ResponseCreate, user_id: str = "user_1") -> list[Wire]:
        return await collect_events(await self.begin_turn(create, user_id))


async def collect_events(running: RunningTurn) -> list[Wire]:
    return [json.loads(text) async for text in running.log.events.follow()]


@asynccontextmanager
async def replica(
    port: int,
    engine: FakeEngine | None = None,
    *,
    store: type[TurnStore] = TurnStore,
    history: type[HistoryReader] = HistoryReader,
    name: str = "g1",
    defaults: Defaults = DEFAULTS,
    policy: RetryPolicy = RETRY_POLICY,
    max_answers: int = 1000,
) -> AsyncIterator[Replica]:
    async with connection(port) as redis, connection(port, BLOCK_SECONDS + 2) as blocking:
        engine, usage, titles = engine or FakeEngine(), RecordedUsage(), RecordedTitles()
        turn_store, responses = store(redis, retention_seconds=60), ResponseStore(redis)
        history_reader = history(redis)
        prompts = PromptBuilder(ENCRYPTION, defaults.system_prompt)
        preparation = TurnPreparation(engine, HistoryLoader(history_reader, responses), prompts, defaults=defaults)
        writer, reader = log_writer(redis, name), Reader(redis, blocking, name)
        windows = WindowSelection(engine, preparation)
        runner = TurnRunner(engine, windows, turn_store, usage, titles, policy, gateway_id=name)
        turn_list = TurnList(Leases(redis, name))
        registry = TurnRegistry(runner, writer, turn_list)
        answers = ConcurrencyLimit(max_answers, "answers are already running")
        turns = TurnAcceptance(preparation, turn_store, responses, turn_list, registry, answers, gateway_id=name)
        following = ResponseFollower(registry, responses, reader)
        compaction = Compaction(engine, history_reader, responses, usage, prompts, ENCRYPTION)

        def handle(command: GatewayCommand, now_ms: int) -> None:
            if isinstance(command, CancelTurn):
                registry.stop(command.response_id, requested_ms_ago=max(0, now_ms - command.requested_at_ms))

        async with background_task(writer.run()), background_task(reader.run(handle)):
            try:
                yield Replica(
                    redis,
                    engine,
                    usage,
                    titles,
                    history_reader,
                    turn_store,
                    responses,
                    prompts,
                    preparation,
                    reader,
                    registry,
                    turns,
                    following,
                    compaction,
                )
            finally:
                await registry.release()
