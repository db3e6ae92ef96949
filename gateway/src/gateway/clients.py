"""The clients of everything the gateway connects to, each with its timeouts and retries."""

from functools import partial
from typing import Any

import httpx2
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.engine.addresses import Addresses
from gateway.engine.client import connect
from gateway.engine.pool import EnginePool
from gateway.settings import Settings


def redis(settings: Settings, *, connections: int, timeout_seconds: float = 2.0) -> Redis:
    """Without retries: a command that timed out may have been executed, and repeating it would duplicate a message.

    This pool waits for a free connection; the client's default pool would refuse the 101st command. Maintenance
    notifications (a feature of Redis Cloud) keep it from noticing connections that a restart has closed.
    """
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        username=settings.redis_credential.user,
        password=settings.redis_credential.password.get_secret_value() or None,
        max_connections=connections,
        timeout=10,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=2.0,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=10,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    pool.connection_class = _translating(pool.connection_class)
    return Redis.from_pool(pool)


def _translating(base: type[AbstractConnection]) -> type[AbstractConnection]:
    """uvloop raises RuntimeError when the server has closed the connection, and redis-py does not translate it."""

    class TranslatingConnection(base):  # type: ignore[misc, valid-type]
        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            try:
                await super().send_packed_command(command, check_health)
            except RuntimeError as exc:
                raise RedisConnectionError(str(exc)) from exc

    return TranslatingConnection


def engine_pool(settings: Settings, server_key: bytes) -> EnginePool:
    connect_engine = partial(
        connect,
        api_key=settings.engine_api_key.get_secret_value(),
        dialect=settings.engine_dialect,
        server_key=server_key,
        model=settings.model,
        connections=settings.engine_connections,
        read_timeout_seconds=settings.engine_read_timeout_seconds,
    )
    return EnginePool(Addresses(settings.engine_url), connect_engine)


def auth_service(settings: Settings) -> httpx2.AsyncClient:
    credential = settings.introspection_credential.get_secret_value()
    return httpx2.AsyncClient(
        base_url=settings.auth_url,
        headers={"Authorization": f"Bearer {credential}"},
        timeout=httpx2.Timeout(2.0),
        # The server closes an idle connection after five seconds, which is when a cached user is asked for again: it
        # may be closing it at this moment. Opening one in the same network costs 0.1 ms.
        limits=httpx2.Limits(keepalive_expiry=0),
        # A proxy set in the environment would read every credential.
        trust_env=False,
    )
