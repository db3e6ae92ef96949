"""The composition root: the only module that knows every other."""

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from types import FrameType

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import WebSocketRoute

from gateway import clients
from gateway.context.defaults import Defaults
from gateway.engine.engines import EngineBalancer
from gateway.engine.relay import ChatRelay
from gateway.errors import ParleyError
from gateway.identity.introspection import Identity
from gateway.identity.revocations import Revocation, Revocations
from gateway.inference import Sampling
from gateway.protocol.chat_completions import ChatCompletion
from gateway.protocol.resources import Generation
from gateway.routes import chat_completions, conversations, health, models, openapi, responses, usage
from gateway.routes.connection_limit import ConnectionLimit
from gateway.routes.json_responses import handle_error
from gateway.routes.plain_text import plain_text
from gateway.routes.ports import ChatRelays
from gateway.routes.responses_socket import responses_socket, upgrade_description, upgrade_required
from gateway.routes.state import SocketLimits, State
from gateway.runtime.compaction import Compaction
from gateway.runtime.counting import TokenCounter
from gateway.runtime.drain import Drain
from gateway.runtime.following import ResponseFollower
from gateway.runtime.preparation import TurnPreparation
from gateway.runtime.registry import TurnRegistry
from gateway.runtime.retry_policy import RetryPolicy
from gateway.runtime.running import TurnRunner
from gateway.runtime.takeover import Takeover
from gateway.runtime.titles import Titles
from gateway.runtime.user_encryption import UserEncryption
from gateway.settings import Settings
from gateway.store.erasure import Erasure
from gateway.store.health import StorageHealth
from gateway.store.history.conversations import Conversations
from gateway.store.history.responses import ResponseStore
from gateway.store.history.sizes import StorageQuota
from gateway.store.history.threads import TurnStore
from gateway.store.leases import Leases
from gateway.store.presence import Presence
from gateway.store.turn_log.fencing import Segments
from gateway.store.turn_log.reader import BLOCK_SECONDS, Reader
from gateway.store.turn_log.writer import Writer
from gateway.store.usage import UsageStore

logger = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    app = FastAPI(title="Parley", lifespan=_lifespan(settings), openapi_url=None, redirect_slashes=False)
    for router in (health, conversations, responses, chat_completions, models, usage):
        app.include_router(router.router)
    app.add_api_route("/v1/responses", upgrade_required, methods=["GET"], **upgrade_description)
    app.router.routes.append(WebSocketRoute("/v1/responses", responses_socket))
    if settings.plain_text_protocol:
        app.add_api_route("/ws", upgrade_required, methods=["GET"], include_in_schema=False)
        app.router.routes.append(WebSocketRoute("/ws", plain_text))
    openapi.publish(app)
    app.add_exception_handler(ParleyError, handle_error)
    app.add_exception_handler(HTTPException, handle_error)
    app.add_exception_handler(RequestValidationError, handle_error)
    app.add_exception_handler(Exception, handle_error)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[State]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[State]:
        async with AsyncExitStack() as stack:
            state = await _opened(settings, stack)
            logger.info("started", extra={"dialect": settings.engine_dialect})
            yield state

    return lifespan


async def _opened(settings: Settings, stack: AsyncExitStack) -> State:
    """What is left first ends first: turns, while all they need is still there; then what they wrote through."""
    gateway_id = secrets.token_hex(8)
    server_key = settings.server_key.get_secret_value().encode()
    redis = clients.redis(settings, connections=256)
    stack.push_async_callback(redis.aclose)
    blocking = clients.redis(settings, connections=1, patience_seconds=BLOCK_SECONDS + 2)
    stack.push_async_callback(blocking.aclose)
    # A lease must not wait behind a thousand events.
    leasing = clients.redis(settings, connections=4)
    stack.push_async_callback(leasing.aclose)
    identity_client = await stack.enter_async_context(clients.identity(settings))
    identity = Identity(identity_client)
    roster = clients.roster(settings, server_key)
    stack.push_async_callback(roster.close)
    await stack.enter_async_context(_running(roster.watch()))
    engine = EngineBalancer(roster, silence_seconds=settings.engine_token_seconds / 2)

    storage = StorageHealth(redis)
    await storage.check()
    sizes = StorageQuota(redis, bytes_at_most=settings.stored_bytes_per_user)
    conversations, stored = Conversations(redis, sizes), ResponseStore(redis, sizes)
    threads = TurnStore(redis, retention_seconds=settings.responses_kept_days * 86_400, sizes=sizes)
    accounting, seal, defaults = UsageStore(redis), UserEncryption(server_key), _defaults(settings)
    titles = Titles(engine, conversations, settings.titles)
    stack.push_async_callback(titles.close)
    writer = Writer(redis, retention_seconds=settings.events_kept_seconds)
    await stack.enter_async_context(_running(writer.run()))
    reader = Reader(redis, blocking, gateway_id)
    acceptance = TurnPreparation(engine, threads, stored, defaults=defaults, seal=seal)
    ownership = Leases(leasing, gateway_id)
    patience = RetryPolicy(settings.engine_patience_seconds, settings.engine_token_seconds)
    runner = TurnRunner(engine, threads, accounting, titles, patience, gateway_id=gateway_id)
    turns = TurnRegistry(acceptance, threads, stored, ownership, runner, writer, gateway_id=gateway_id)
    segments = Segments(redis)
    takeover = Takeover(ownership, segments, stored, acceptance, turns, writer, gateway_id=gateway_id)
    await stack.enter_async_context(_running(reader.run(partial(_obey, turns, ownership))))
    await stack.enter_async_context(_running(ownership.run_heartbeat(takeover.lose_what_others_took)))
    await stack.enter_async_context(_running(ownership.run_sweeper(takeover.of)))
    hand_over = Drain(turns, ownership, reader, gateway_id, seconds=settings.drain_seconds)
    stack.push_async_callback(hand_over.done)
    stack.enter_context(_told_to_stop(hand_over.begin))
    presence = Presence(redis, announce=settings.announce_leavers)
    listening = asyncio.Event()
    await stack.enter_async_context(_running(presence.listen(listening.set)))
    await listening.wait()
    revocations, erasure = Revocations(redis), Erasure(redis, identity)
    await stack.enter_async_context(_running(revocations.listen(partial(_withdrawn, identity, erasure))))
    await stack.enter_async_context(_running(erasure.run()))
    return State(
        identity=identity,
        revocations=revocations,
        allowed_origins=settings.allowed_origins,
        connection_limit=ConnectionLimit(settings.sockets_per_user),
        socket_limits=SocketLimits(settings.socket_age_seconds, settings.socket_first_event_seconds),
        turns=turns,
        follower=ResponseFollower(turns, stored, reader),
        compaction=Compaction(engine, threads, stored, accounting, seal),
        token_counter=TokenCounter(engine, acceptance),
        conversations=conversations,
        conversation_items=conversations.items,
        conversation_index=conversations.index,
        usage=accounting,
        models=engine,
        chat_relays=_chat_relays(engine, defaults),
        presence=presence,
        storage_health=storage,
    )


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
    """A server whose context is not known refuses a limit that is larger: there it is sent only when it was set."""
    if settings.engine_dialect == "vllm" or "max_output_tokens" in settings.generation.model_fields_set:
        return settings.generation.max_output_tokens
    return None


def _chat_relays(engine: EngineBalancer, defaults: Defaults) -> ChatRelays:
    def create(completion: ChatCompletion, *, user_id: str) -> ChatRelay:
        return ChatRelay(engine, completion, defaults.of(completion, Generation()), user_id=user_id)

    return create


@contextmanager
def _told_to_stop(leave: Callable[[], None]) -> Iterator[None]:
    """Beside what the web server does on SIGTERM, which waits for open streams before it ends us."""
    loop, server = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

    def both(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(leave)
        if callable(server):
            server(number, frame)

    signal.signal(signal.SIGTERM, both)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server)


def _withdrawn(identity: Identity, erasure: Erasure, revocation: Revocation) -> None:
    identity.forget(revocation.sub)
    if revocation.reason == "deleted":
        erasure.look()


def _obey(turns: TurnRegistry, ownership: Leases, wish: dict[str, str]) -> None:
    """What another gateway, or this one, wants of this one."""
    if "cancel" in wish:
        turns.stop(wish["cancel"], int(wish["wished_ms"]))
    if "released" in wish:
        ownership.released(wish["released"])


@asynccontextmanager
async def _running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """In a task that is owned, not in a task group: what fails there must not cancel the whole application.

    Without it no answer would go on, so the process leaves, and another takes its place.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_leave_with)
    try:
        yield
    finally:
        while not task.done():  # on Python 3.11 `wait_for`, which redis-py writes through, may swallow a cancel
            task.cancel()
            await asyncio.wait([task], timeout=0.2)


def _leave_with(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()) is not None:
        logger.critical("a part that everything needs has ended", exc_info=exc)
        os.kill(os.getpid(), signal.SIGTERM)
