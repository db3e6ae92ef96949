"""The composition root: the only module that knows every other."""

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from redis.asyncio import Redis
from starlette.exceptions import HTTPException
from starlette.routing import WebSocketRoute

from gateway import clients
from gateway.context.defaults import Defaults
from gateway.engine.engines import EngineBalancer
from gateway.errors import ParleyError
from gateway.identity.introspection import Identity
from gateway.identity.revocations import Revocation, Revocations
from gateway.inference import Sampling
from gateway.routes import chat_completions, conversations, health, models, openapi, responses, usage
from gateway.routes.places import ConnectionLimit
from gateway.routes.plain_text import plain_text
from gateway.routes.refusal import refused
from gateway.routes.responses_socket import handshake_described, responses_socket, upgrade_required
from gateway.routes.state import SocketLimits, State
from gateway.runtime.acceptance import TurnAcceptance
from gateway.runtime.compaction import Compaction
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
from gateway.store.turn_log.writer import Writer
from gateway.store.usage import UsageStore
from gateway.turn.commands import CancelTurn, GatewayCommand, TakeOverTurns

logger = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    app = FastAPI(title="Parley", lifespan=_lifespan(settings), openapi_url=None, redirect_slashes=False)
    for router in (health, conversations, responses, chat_completions, models, usage):
        app.include_router(router.router)
    app.add_api_route("/v1/responses", upgrade_required, methods=["GET"], **handshake_described)
    app.router.routes.append(WebSocketRoute("/v1/responses", responses_socket))
    if settings.plain_text_protocol:
        app.add_api_route("/ws", upgrade_required, methods=["GET"], include_in_schema=False)
        app.router.routes.append(WebSocketRoute("/ws", plain_text))
    openapi.publish(app)
    app.add_exception_handler(ParleyError, refused)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(Exception, refused)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[State]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[State]:
        async with AsyncExitStack() as stack:
            state = await _open(settings, stack)
            logger.info("started", extra={"dialect": settings.engine_dialect})
            yield state

    return lifespan


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
    follower: ResponseFollower
    compaction: Compaction
    counter: TokenCounter


async def _open(settings: Settings, stack: AsyncExitStack) -> State:
    """The stack closes in reverse order: turns end while everything they need is still open."""
    gateway_id = secrets.token_hex(8)
    server_key = settings.server_key.get_secret_value().encode()
    redis = _open_redis(settings, stack)
    identity = Identity(await stack.enter_async_context(clients.identity(settings)))
    engine = await _open_engine(settings, server_key, stack)
    store = await _open_store(settings, redis, gateway_id, stack)
    runtime = await _open_runtime(settings, engine, store, Leases(redis.leasing, gateway_id), gateway_id, stack)
    presence = await _open_presence(settings, redis.shared, stack)
    revocations = await _open_revocations(redis.shared, identity, stack)
    return State(
        identity=identity,
        engine=engine,
        storage=store.health,
        conversations=store.conversations,
        responses=store.responses,
        accounting=store.usage,
        defaults=_defaults(settings),
        turns=runtime.acceptance,
        following=runtime.follower,
        compaction=runtime.compaction,
        counting=runtime.counter,
        presence=presence,
        revocations=revocations,
        places=ConnectionLimit(settings.sockets_per_user),
        socket_limits=SocketLimits(settings.socket_age_seconds, settings.socket_first_event_seconds),
        allowed_origins=settings.allowed_origins,
    )


def _open_redis(settings: Settings, stack: AsyncExitStack) -> _RedisClients:
    shared = clients.redis(settings, connections=256)
    blocking = clients.redis(settings, connections=1, patience_seconds=BLOCK_SECONDS + 2)
    leasing = clients.redis(settings, connections=4)
    for client in (shared, blocking, leasing):
        stack.push_async_callback(client.aclose)
    return _RedisClients(shared, blocking, leasing)


async def _open_engine(settings: Settings, server_key: bytes, stack: AsyncExitStack) -> EngineBalancer:
    pool = clients.roster(settings, server_key)
    stack.push_async_callback(pool.close)
    await stack.enter_async_context(_background(pool.watch()))
    return EngineBalancer(pool, silence_seconds=settings.engine_token_seconds / 2)


async def _open_store(settings: Settings, redis: _RedisClients, gateway_id: str, stack: AsyncExitStack) -> _Store:
    health = StorageHealth(redis.shared)
    await health.check()
    await stack.enter_async_context(_background(health.watch()))
    quota = StorageQuota(redis.shared, max_bytes=settings.stored_bytes_per_user)
    writer = Writer(redis.shared, retention_seconds=settings.events_kept_seconds)
    await stack.enter_async_context(_background(writer.run()))
    return _Store(
        health=health,
        conversations=Conversations(redis.shared, quota),
        responses=ResponseStore(redis.shared, quota),
        history_reader=HistoryReader(redis.shared),
        turns=TurnStore(redis.shared, retention_seconds=settings.responses_kept_days * 86_400, quota=quota),
        usage=UsageStore(redis.shared),
        segments=Segments(redis.shared),
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
    policy = RetryPolicy(settings.engine_patience_seconds, settings.engine_token_seconds)
    windows = WindowSelection(engine, preparation)
    runner = TurnRunner(engine, windows, store.turns, store.usage, titles, policy, gateway_id=gateway_id)
    turn_list = TurnList(leases)
    registry = TurnRegistry(runner, store.writer, turn_list)
    await _open_takeover(store, leases, preparation, registry, gateway_id, stack)
    drain = Drain(registry, leases, store.reader, gateway_id, seconds=settings.drain_seconds)
    stack.push_async_callback(drain.finish)
    stack.enter_context(_on_sigterm(drain.start))
    return _Runtime(
        TurnAcceptance(preparation, store.turns, store.responses, turn_list, registry, gateway_id=gateway_id),
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
    await stack.enter_async_context(_background(store.reader.run(partial(_handle_command, registry, leases))))
    await stack.enter_async_context(_background(leases.run_heartbeat(takeover.fence_off_lost_turns)))
    await stack.enter_async_context(_background(leases.run_sweeper(takeover.take_over_all)))


async def _open_presence(settings: Settings, redis: Redis, stack: AsyncExitStack) -> Presence:
    presence = Presence(redis, announce=settings.announce_leavers)
    listening = asyncio.Event()
    await stack.enter_async_context(_background(presence.listen(listening.set)))
    await listening.wait()
    return presence


async def _open_revocations(redis: Redis, identity: Identity, stack: AsyncExitStack) -> Revocations:
    revocations, erasure = Revocations(redis), Erasure(redis, identity)
    await stack.enter_async_context(_background(revocations.listen(partial(_handle_revocation, identity, erasure))))
    await stack.enter_async_context(_background(erasure.run()))
    return revocations


def _defaults(settings: Settings) -> Defaults:
    return Defaults(
        settings.system_prompt,
        Sampling(
            temperature=settings.temperature,
            top_p=settings.top_p,
            repetition_penalty=settings.repetition_penalty,
            max_output_tokens=_output_limit(settings),
        ),
    )


def _output_limit(settings: Settings) -> int | None:
    """A server whose context is unknown refuses a limit beyond it: there the limit is sent only if it was set."""
    if settings.engine_dialect == "vllm" or "max_output_tokens" in settings.model_fields_set:
        return settings.max_output_tokens
    return None


@contextmanager
def _on_sigterm(start_draining: Callable[[], None]) -> Iterator[None]:
    """Besides the web server's own handler, which waits for open streams before it shuts the application down."""
    loop, server_handler = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(start_draining)
        if callable(server_handler):
            server_handler(number, frame)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server_handler)


def _handle_revocation(identity: Identity, erasure: Erasure, revocation: Revocation) -> None:
    identity.forget(revocation.sub)
    if revocation.reason == "deleted":
        erasure.run_soon()


def _handle_command(registry: TurnRegistry, leases: Leases, command: GatewayCommand) -> None:
    match command:
        case CancelTurn(response_id, requested_at_ms):
            registry.stop(response_id, requested_at_ms)
        case TakeOverTurns(gateway_id):
            leases.sweep_soon(gateway_id)


@asynccontextmanager
async def _background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """A task that the stack owns. Not in a task group: its failure must not cancel the whole application.

    Without it no turn would continue, so the process shuts down and another one takes its place.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_shut_down_on_failure)
    try:
        yield
    finally:
        while not task.done():  # on Python 3.11 `wait_for`, which redis-py writes through, may swallow a cancellation
            task.cancel()
            await asyncio.wait([task], timeout=0.2)


def _shut_down_on_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()) is not None:
        logger.critical("a required background task ended unexpectedly", exc_info=exc)
        os.kill(os.getpid(), signal.SIGTERM)
