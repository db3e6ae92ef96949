"""Sockets whose credential ends: told by the auth-service through Redis, so that they close within moments.

    parley:revocations    channel: {"sub", "credential": digest or null for all of the user's, "reason"}

A message may be lost while Redis is away; each socket asks again by itself, so that is a minute late and no more.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import ParleyError, Unauthenticated
from gateway.identity import Identity, User

logger = logging.getLogger(__name__)

_CHANNEL = "parley:revocations"
_RECONNECT_SECONDS = 1.0
_ASK_AGAIN_SECONDS = 60.0

Close = Callable[[], Awaitable[None]]


class Revocation(msgspec.Struct, frozen=True):
    sub: str
    credential: str | None = None
    reason: str = ""


_decode = msgspec.json.Decoder(Revocation).decode


@dataclass(frozen=True, eq=False, slots=True)
class _Open:
    user: User
    close: Close


class Revocations:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._open: dict[str, set[_Open]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @contextmanager
    def watched(self, user: User, close: Close) -> Iterator[None]:
        """`close` is called when the credential of `user` ends."""
        mine = _Open(user, close)
        self._open.setdefault(user.id, set()).add(mine)
        try:
            yield
        finally:
            self._open[user.id].discard(mine)
            if not self._open[user.id]:
                del self._open[user.id]

    async def listen(self, told: Callable[[Revocation], None]) -> None:
        """Until cancelled, on a connection of its own; `told` gets each one too."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(_CHANNEL)
                    async for message in subscription.listen():
                        self._obey(message["data"], told)
            except RedisError:
                logger.warning("listening for revocations: redis is not reachable")
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _obey(self, data: bytes, told: Callable[[Revocation], None]) -> None:
        try:
            revocation = _decode(data)
        except msgspec.DecodeError:
            logger.warning("a message on the channel of revocations is none")
            return
        told(revocation)
        for one in tuple(self._open.get(revocation.sub, ())):
            if revocation.credential in (None, one.user.credential):
                task = asyncio.ensure_future(one.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)


async def ask_again(identity: Identity, user: User, close: Close, *, every_seconds: float = _ASK_AGAIN_SECONDS) -> None:
    """Until cancelled, for the word that was lost. While nobody can tell, an open chat goes on."""
    while True:
        await asyncio.sleep(every_seconds)
        try:
            await identity.again(user)
        except Unauthenticated:
            await close()
        except ParleyError:
            continue
