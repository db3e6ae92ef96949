"""The composition root: the only module that knows every other."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import httpx2
import openai
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from openai import DefaultAioHttpClient
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from starlette.exceptions import HTTPException
from starlette.routing import WebSocketRoute

from gateway.engine import Engine
from gateway.errors import InternalError, InvalidRequest, NotFound, ParleyError
from gateway.generation import Sampling
from gateway.history import History
from gateway.identity import Identity
from gateway.presence import Presence
from gateway.routes import conversations, health
from gateway.routes.plain_text import plain_text
from gateway.routes.refusal import refusal
from gateway.routes.responses_socket import responses_socket, upgrade_required
from gateway.routes.state import State
from gateway.settings import Settings
from gateway.turns import Defaults, Turns

logger = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    app = FastAPI(title="Parley", lifespan=_lifespan(settings), openapi_url=None, redirect_slashes=False)
    app.include_router(health.router)
    app.include_router(conversations.router)
    app.add_api_route("/v1/responses", upgrade_required, methods=["GET"])
    app.router.routes.append(WebSocketRoute("/v1/responses", responses_socket))
    if settings.plain_text_protocol:
        app.add_api_route("/ws", upgrade_required, methods=["GET"])
        app.router.routes.append(WebSocketRoute("/ws", plain_text))
    app.add_exception_handler(ParleyError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    app.add_exception_handler(Exception, _refused)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[State]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[State]:
        async with AsyncExitStack() as stack:
            redis = _redis(settings)
            stack.push_async_callback(redis.aclose)
            identity_client = await stack.enter_async_context(_identity_client(settings))
            history = History(redis)
            engine = Engine(
                _engine_client(settings),
                dialect=settings.engine_dialect,
                server_key=settings.server_key.get_secret_value().encode(),
                model=settings.model,
            )
            stack.push_async_callback(engine.close)
            turns = Turns(engine, history, _defaults(settings))
            # Left before what was opened above: the turns end while all they need is still there.
            stack.push_async_callback(turns.drain, settings.drain_seconds)
            presence = Presence(redis, announce=settings.announce_leavers)
            await stack.enter_async_context(_listening(presence))
            logger.info("started", extra={"dialect": settings.engine_dialect})
            yield State(
                identity=Identity(identity_client),
                history=history,
                turns=turns,
                presence=presence,
                allowed_origins=settings.allowed_origins,
            )

    return lifespan


def _redis(settings: Settings) -> Redis:
    """No retry of its own: a command that timed out may have been done, and doing it twice doubles a message.

    The pool waits for a free connection; the client's own would refuse the 101st command. Maintenance notifications
    (a feature of Redis' cloud) keep it from noticing connections that a restart has closed.
    """
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        username=settings.redis_user,
        password=settings.redis_password.get_secret_value() or None,
        max_connections=64,
        timeout=2,
        socket_timeout=2.0,
        socket_connect_timeout=2.0,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=10,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return Redis.from_pool(pool)


def _engine_client(settings: Settings) -> openai.AsyncOpenAI:
    connections = settings.engine_connections
    timeout = httpx2.Timeout(connect=5.0, read=settings.engine_read_timeout_seconds, write=10.0, pool=5.0)
    return openai.AsyncOpenAI(
        base_url=settings.engine_url,
        api_key=settings.engine_api_key.get_secret_value(),
        max_retries=0,
        timeout=timeout,
        # Without limits of its own this client caps the streams of a whole gateway at 100 or 1,000.
        http_client=DefaultAioHttpClient(
            timeout=timeout,
            # Only a server that is somewhere else may be behind a proxy.
            trust_env=settings.engine_dialect == "openai",
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        ),
    )


def _identity_client(settings: Settings) -> httpx2.AsyncClient:
    credential = settings.introspection_credential.get_secret_value()
    return httpx2.AsyncClient(
        base_url=settings.auth_url,
        headers={"Authorization": f"Bearer {credential}"},
        timeout=httpx2.Timeout(2.0, pool=10.0),
        # A proxy that the environment names would read every credential.
        trust_env=False,
    )


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
    """A server whose context is not known refuses a limit that is larger: there it is sent only when it was set."""
    if settings.engine_dialect == "vllm" or "max_output_tokens" in settings.model_fields_set:
        return settings.max_output_tokens
    return None


@asynccontextmanager
async def _listening(presence: Presence) -> AsyncIterator[None]:
    """In a task that is owned, not in a task group: what fails there must not end the whole application."""
    tried = asyncio.Event()
    listening = asyncio.create_task(presence.listen(tried.set))
    try:
        await tried.wait()
        yield
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _refused(_: Request, exc: Exception) -> JSONResponse:
    match exc:
        case ParleyError():
            return refusal(exc)
        case HTTPException(status_code=404):
            return refusal(NotFound("path"))
        case HTTPException():
            return refusal(InvalidRequest(str(exc.detail)), status=exc.status_code, headers=exc.headers)
        case RequestValidationError():
            first = exc.errors()[0]
            field = ".".join(str(part) for part in first["loc"][1:])
            return refusal(InvalidRequest(f"`{field}`: {first['msg']}", param=field, code="invalid_value"))
        case _:
            return refusal(InternalError())
