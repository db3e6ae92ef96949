"""Announces revoked credentials to all gateways, so that open sockets close within a second.

For each revocation one JSON object is published on the Redis channel `parley:revocations`:

    {"sub": "user_<32 hex>", "credential": "<64 hex>" or null, "reason": one of the values below}

`sub` is the user. `credential` is the value that introspection returned: gateways close the sockets opened with it.
null means all sockets of the user. `reason`:

- `session`: a session was ended by its user or by an administrator
- `key`: an API key was deleted
- `password`: the password was changed; `credential` identifies sockets opened with the old password itself (`/ws`)
- `user`: the user was disabled
- `deleted`: the user was deleted, and the user's data must be deleted too; `GET /deletions` lists the user until then

Delivery is at most once (no subscriber, Redis unavailable). Gateways therefore repeat `POST /introspect` for each open
socket at least every 60 s, and a failure of Redis never fails a revocation.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Final, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

log: Final = logging.getLogger(__name__)

CHANNEL: Final = "parley:revocations"
_TIMEOUT_SECONDS: Final = 1.0


class Reason(StrEnum):
    SESSION = auto()
    KEY = auto()
    PASSWORD = auto()
    USER = auto()
    DELETED = auto()


@dataclass(frozen=True, slots=True)
class Revocation:
    account_id: str
    credential: str | None
    reason: Reason

    def message(self) -> str:
        return json.dumps({"sub": self.account_id, "credential": self.credential, "reason": self.reason})


class Announcer(Protocol):
    async def announce(self, revocations: Iterable[Revocation]) -> None:
        """Called after the transaction that revoked them was committed. Never raises."""


class NullAnnouncer:
    """For deployments without Redis: gateways notice revocations at the next introspection."""

    async def announce(self, revocations: Iterable[Revocation]) -> None:
        pass


class RedisAnnouncer:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def announce(self, revocations: Iterable[Revocation]) -> None:
        messages = [revocation.message() for revocation in revocations]
        if not messages:
            return
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for message in messages:
                        pipeline.publish(CHANNEL, message)
                    await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as exc:
            log.warning("revocation not announced", extra={"count": len(messages), "reason": type(exc).__name__})


@asynccontextmanager
async def open_announcer(url: str, user: str, password: str) -> AsyncGenerator[Announcer]:
    """Returns a NullAnnouncer for an empty `url`.

    Publishing is idempotent, so it is retried once on a new connection. Maintenance notifications (a feature of Redis
    Cloud) are disabled: with them, the client does not notice connections closed by a restart of Redis.
    """
    if not url:
        yield NullAnnouncer()
        return
    redis = Redis.from_url(
        url,
        username=user if password else None,
        password=password or None,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    try:
        yield RedisAnnouncer(redis)
    finally:
        await redis.aclose()
