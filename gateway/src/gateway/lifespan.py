"""The composition root: opens everything that the routes use, and closes it in reverse order."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI
from redis.asyncio import Redis

from gateway import clients
from gateway.background import background, on_sigterm
from gateway.context.defaults import Defaults
from gateway.engine.balancer import EngineBalancer
from gateway.engine.health_checker import HealthChecker
from gateway.engine.relay import ChatRelay
from gateway.identity.auth_service import AuthService
from gateway.identity.identity import Identity
from gateway.identity.revocation_channel import Revocation, RevocationChannel
from gateway.identity.revocations import Revocations
from gateway.inference import Sampling
from gateway.loop_lag import LoopLag
from gateway.protocol.chat_completions import ChatCompletion
from gateway.protocol.resources import Generation
from gateway.routes.ports import ChatRelays
from gateway.routes.state import SocketLimits, State
from gateway.runtime.acceptance import TurnAcceptance
from gateway.runtime.compaction import Compaction
from gateway.runtime.concurrency_limit import ConcurrencyLimit
from gateway.runtime.context_window import WindowSelection
from gateway.runtime.counting import TokenCounter
from gateway.runtime.drain import Drain
from gateway.runtime.following import ResponseFollower
from gateway.runtime.history_loader import HistoryLoader
from gateway.runtime.preparation import TurnPreparation
from gateway.runtime.prompt_builder import PromptBuilder
from gateway.runtime.registry import TurnRegistry
from gateway.runtime.retry_policy import RetryPolicy
from gateway.runtime.running import TurnRunner
from gateway.runtime.takeover import Takeover
from gateway.runtime.titles import Titles
from gateway.runtime.turn_list import TurnList
from gateway.runtime.user_encryption import UserEncryption
from gateway.settings import Settings
from gateway.store.erasure import Erasure
from gateway.store.health import StorageHealth
from gateway.store.history.conversations import Conversations
from gateway.store.history.history_reader import HistoryReader
from gateway.store.history.quota import StorageQuota
from gateway.store.history.responses import ResponseStore
from gateway.store.history.turn_store import TurnStore
from gateway.store.leases import Leases
from gateway.store.presence import Presence
from gateway.store.turn_log.fencing import Segments
from gateway.store.turn_log.reader import BLOCK_SECONDS, Reader
from gateway.store.turn_log.repair import LogRepair
from gateway.store.turn_log.writer import Writer
from gateway.store.usage import UsageStore
from gateway.turn.commands import CancelTurn, GatewayCommand, TakeOverTurns

logger = logging.getLogger(__name__)


def lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[State]]:
    @asynccontextmanager
    async def opened(_: FastAPI) -> AsyncGenerator[State]:
        async with AsyncExitStack() as stack:
            state = await _open(settings, stack)
            logger.info("started", extra={"dialect": settings.engine_dialect})
            yield state

    return opened


@dataclass(frozen=True, slots=True)
class _RedisClients:
    """Apart from each other: a blocking read would starve everything else on its connection, and the renewal of a lease
    must not wait behind a thousand events."""

    shared: Redis
    blocking: Redis
    leasing: Redis


@dataclass(frozen=True, slots=True)
class _Store:
    health: StorageHealth
    conversations: Conversations
    responses: ResponseStore
    history_reader: HistoryReader
    turns: TurnStore
    usage: UsageStore
    segments: Segments
    writer: Writer
    reader: Reader


@dataclass(frozen=True, slots=True)
class _Runtime:
    acceptance: TurnAcceptance
    answers: ConcurrencyLimit
    follower: ResponseFollower
    compaction: Compaction
    counter: TokenCounter


async def _open(settings: Settings, stack: AsyncExitStack) -> State:
    """The stack closes in reverse order: turns end while everything they need is still open."""
    gateway_id = secrets.token_hex(8)
    await stack.enter_async_context(background(LoopLag().run()))
    server_key = settings.server_key.get_secret_value().encode()
    redis = _open_redis(settings, stack)
    auth_service = AuthService(await stack.enter_async_context(clients.auth_service(settings)))
    identity = Identity(auth_service)
    engine = await _open_engine(settings, server_key, stack)
    store = await _open_store(settings, redis, gateway_id, stack)
    runtime = await _open_runtime(settings, engine, store, Leases(redis.leasing, gateway_id), gateway_id, stack)
    presence = await _open_presence(settings, redis.shared, stack)
    revocations = await _open_revocations(redis.shared, auth_service, identity, stack)
    return State(
        identity=identity,
        revocations=revocations,
        allowed_origins=settings.allowed_origins,
        connections=ConcurrencyLimit(settings.sockets_per_user, "sockets and streams are already open; close one"),
        requests=ConcurrencyLimit(settings.requests_per_user, "requests are already in progress; wait for one"),
        answers=runtime.answers,
        socket_limits=SocketLimits(settings.socket_age_seconds, settings.socket_first_event_seconds),
        turns=runtime.acceptance,
        follower=runtime.follower,
        compaction=runtime.compaction,
        token_counter=runtime.counter,
        conversations=store.conversations,
        conversation_items=store.conversations.items,
        conversation_index=store.conversations.index,
        usage=store.usage,
        models=engine,
        chat_relays=_chat_relays(engine, _defaults(settings)),
        presence=presence,
        storage_health=store.health,
    )


def _open_redis(settings: Settings, stack: AsyncExitStack) -> _RedisClients:
    shared = clients.redis(settings, connections=256)
    blocking = clients.redis(settings, connections=1, timeout_seconds=BLOCK_SECONDS + 2)
    leasing = clients.redis(settings, connections=4)
    for client in (shared, blocking, leasing):
        stack.push_async_callback(client.aclose)
    return _RedisClients(shared, blocking, leasing)


async def _open_engine(settings: Settings, server_key: bytes, stack: AsyncExitStack) -> EngineBalancer:
    pool = clients.engine_pool(settings, server_key)
    stack.push_async_callback(pool.close)
    await stack.enter_async_context(background(HealthChecker(pool).run()))
    # Half, because a turn itself cancels the call after the whole time: that cancellation must count as a failure.
    return EngineBalancer(pool, silence_seconds=settings.engine_token_seconds / 2)


async def _open_store(settings: Settings, redis: _RedisClients, gateway_id: str, stack: AsyncExitStack) -> _Store:
    health = StorageHealth(redis.shared)
    await health.check()
    await stack.enter_async_context(background(health.watch()))
    quota = StorageQuota(redis.shared, max_bytes=settings.stored_bytes_per_user)
    responses, segments = ResponseStore(redis.shared, quota), Segments(redis.shared)
    repair = LogRepair(segments, responses, gateway_id)
    writer = Writer(redis.shared, repair, retention_seconds=settings.events_kept_seconds)
    await stack.enter_async_context(background(writer.run()))
    return _Store(
        health=health,
        conversations=Conversations(redis.shared, quota),
        responses=responses,
        history_reader=HistoryReader(redis.shared),
        turns=TurnStore(redis.shared, retention_seconds=settings.responses_kept_days * 86_400, quota=quota),
        usage=UsageStore(redis.shared),
        segments=segments,
        writer=writer,
        reader=Reader(redis.shared, redis.blocking, gateway_id),
    )


async def _open_runtime(
    settings: Settings,
    engine: EngineBalancer,
    store: _Store,
    leases: Leases,
    gateway_id: str,
    stack: AsyncExitStack,
) -> _Runtime:
    defaults, encryption = _defaults(settings), UserEncryption(settings.server_key.get_secret_value().encode())
    prompts = PromptBuilder(encryption, defaults.system_prompt)
    history = HistoryLoader(store.history_reader, store.responses)
    preparation = TurnPreparation(engine, history, prompts, defaults=defaults)
    titles = Titles(engine, store.conversations, settings.titles)
    stack.push_async_callback(titles.close)
    policy = RetryPolicy(engine_seconds=settings.engine_patience_seconds, token_seconds=settings.engine_token_seconds)
    windows = WindowSelection(engine, preparation)
    runner = TurnRunner(engine, windows, store.turns, store.usage, titles, policy, gateway_id=gateway_id)
    turn_list = TurnList(leases)
    registry = TurnRegistry(runner, store.writer, turn_list)
    await _open_takeover(store, leases, preparation, registry, gateway_id, stack)
    drain = Drain(registry, leases, store.reader, gateway_id, seconds=settings.drain_seconds)
    stack.push_async_callback(drain.finish)
    stack.enter_context(on_sigterm(drain.start))
    answers = ConcurrencyLimit(settings.answers_per_user, "answers are already running; wait for one, or stop one")
    return _Runtime(
        TurnAcceptance(preparation, store.turns, store.responses, turn_list, registry, answers, gateway_id=gateway_id),
        answers,
        ResponseFollower(registry, store.responses, store.reader),
        Compaction(engine, store.history_reader, store.responses, store.usage, prompts, encryption),
        TokenCounter(engine, preparation),
    )


async def _open_takeover(
    store: _Store,
    leases: Leases,
    preparation: TurnPreparation,
    registry: TurnRegistry,
    gateway_id: str,
    stack: AsyncExitStack,
) -> None:
    takeover = Takeover(
        leases, store.segments, store.responses, preparation, registry, store.writer, gateway_id=gateway_id
    )
    await stack.enter_async_context(background(store.reader.run(partial(_handle_command, registry, leases))))
    await stack.enter_async_context(background(leases.run_heartbeat(takeover.abandon_lost_turns)))
    await stack.enter_async_context(background(leases.run_sweeper(takeover.take_over_all)))


async def _open_presence(settings: Settings, redis: Redis, stack: AsyncExitStack) -> Presence:
    presence = Presence(redis, announce=settings.announce_leavers)
    listening = asyncio.Event()
    await stack.enter_async_context(background(presence.listen(listening.set)))
    await listening.wait()
    return presence


async def _open_revocations(
    redis: Redis, auth_service: AuthService, identity: Identity, stack: AsyncExitStack
) -> Revocations:
    revocations, erasure = Revocations(RevocationChannel(redis)), Erasure(redis, auth_service)
    await stack.enter_async_context(background(revocations.listen(partial(_handle_revocation, identity, erasure))))
    await stack.enter_async_context(background(erasure.run()))
    return revocations


def _defaults(settings: Settings) -> Defaults:
    return Defaults(
        settings.generation.system_prompt,
        Sampling(
            temperature=settings.generation.temperature,
            top_p=settings.generation.top_p,
            repetition_penalty=settings.generation.repetition_penalty,
            max_output_tokens=_output_limit(settings),
        ),
    )


def _output_limit(settings: Settings) -> int | None:
    """A server whose context is unknown refuses a limit beyond it: there the limit is sent only if it was set."""
    if settings.engine_dialect == "vllm" or "max_output_tokens" in settings.generation.model_fields_set:
        return settings.generation.max_output_tokens
    return None


def _chat_relays(engine: EngineBalancer, defaults: Defaults) -> ChatRelays:
    def create(completion: ChatCompletion, *, user_id: str) -> ChatRelay:
        return ChatRelay(engine, completion, defaults.resolve(completion, Generation()), user_id=user_id)

    return create


def _handle_revocation(identity: Identity, erasure: Erasure, revocation: Revocation) -> None:
    identity.invalidate(revocation.sub)
    if revocation.reason == "deleted":
        erasure.run_soon()


def _handle_command(registry: TurnRegistry, leases: Leases, command: GatewayCommand, now_ms: int) -> None:
    match command:
        case CancelTurn(response_id, requested_at_ms):
            registry.stop(response_id, requested_ms_ago=max(0, now_ms - requested_at_ms))
        case TakeOverTurns(gateway_id):
            leases.sweep_soon(gateway_id)
