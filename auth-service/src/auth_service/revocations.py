"""Tells every gateway at once that a credential has ended, so that open sockets close within a second.

One JSON object is published on the Redis channel `parley:revocations` for each thing that ended:

    {"sub": "user_<32 hex>", "credential": "<64 hex>" or null, "reason": one of the words below}

`sub` is whose it was. `credential` is what introspection answered under the same name: the socket that came with it is
the one to close. null stands for every socket of the user. `reason`:

- `session`: a log-in was ended, by its owner, by the owner elsewhere, or by an administrator
- `key`: an API key was deleted
- `password`: the password was changed; `credential` stands for sockets opened with the old password itself (`/ws`)
- `user`: the user was disabled
- `deleted`: the user is gone, and all of the user's data must go too; `GET /deletions` repeats it until it was followed

A message can be lost (nobody listened, Redis was away). That is why a gateway asks `POST /introspect` again at least
every 60 s about each open socket, and why nothing here fails because Redis does.
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
_PATIENCE_SECONDS: Final = 1.0


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
        """After the transaction that ended them. Never fails."""


class Silence:
    """Without Redis: gateways learn of an end when they ask again."""

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
            async with asyncio.timeout(_PATIENCE_SECONDS):
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for message in messages:
                        pipeline.publish(CHANNEL, message)
                    await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as exc:
            log.warning("revocation not announced", extra={"count": len(messages), "reason": type(exc).__name__})


@asynccontextmanager
async def announcing(url: str, user: str, password: str) -> AsyncGenerator[Announcer]:
    """Publishing twice does no harm, so a connection that Redis closed meanwhile is opened again, once. With
    maintenance notifications (a feature of Redis' cloud) it would not notice connections that a restart has closed."""
    if not url:
        yield Silence()
        return
    redis = Redis.from_url(
        url,
        username=user if password else None,
        password=password or None,
        socket_timeout=_PATIENCE_SECONDS,
        socket_connect_timeout=_PATIENCE_SECONDS,
        retry=Retry(NoBackoff(), 1),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    try:
        yield RedisAnnouncer(redis)
    finally:
        await redis.aclose()
