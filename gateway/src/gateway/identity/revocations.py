"""Readers whose credential ends: told by the auth-service through Redis, so that they are closed within moments.

    parley:revocations    channel: {"sub", "credential": digest or null for all of the user's, "reason"}

A message may be lost while Redis is away. So each reader asks again by itself, and all of them do when this gateway
has subscribed anew.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.errors import ParleyError, Unauthenticated
from gateway.identity.introspection import User

logger = logging.getLogger(__name__)

_CHANNEL = "parley:revocations"
_RECONNECT_SECONDS = 1.0
# Behind a connection that is half open nothing is ever heard: so long, and as long again for the answer to a ping.
_SILENCE_SECONDS = 5.0
# A minute at worst: what a handshake was told may be 5 s old, a question may take 2, and one may fail (2 + 5).
ASK_AGAIN_SECONDS = 45.0
ASK_SOON_SECONDS = 5.0

Close = Callable[[], Awaitable[None]]


class CredentialChecker(Protocol):
    async def recheck(self, user: User) -> None:
        """Raises Unauthenticated, or another ParleyError when nobody can tell."""


class Revocation(msgspec.Struct, frozen=True):
    sub: str
    credential: str | None = None
    reason: str = ""


_decode = msgspec.json.Decoder(Revocation).decode


@dataclass(frozen=True, eq=False, slots=True)
class _Open:
    user: User
    doubtful: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Revocations:
    def __init__(self, redis: Redis, *, silence_seconds: float = _SILENCE_SECONDS) -> None:
        self._redis = redis
        self._silence_seconds = silence_seconds
        self._open: dict[str, set[_Open]] = {}
        # How often something ended, or may have without a word.
        self.heard = 0

    async def watch(
        self,
        asks: CredentialChecker,
        user: User,
        close: Close,
        *,
        since: int | None = None,
        every_seconds: float = ASK_AGAIN_SECONDS,
        soon_seconds: float = ASK_SOON_SECONDS,
    ) -> None:
        """Until cancelled, or `close` was called because the credential of `user` has ended. While nobody can tell, an
        open chat goes on.

        `since` is what `heard` was before the question whose answer was `user`: what ended in between was heard when
        there was nobody to close yet. Without it, or then, the first question comes at once.
        """
        with self._watched(user) as mine:
            if since != self.heard:
                mine.doubtful.set()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_ask_again, asks, mine, every_seconds, soon_seconds)
                await mine.ended.wait()
                tasks.cancel_scope.cancel()
        await close()

    @contextmanager
    def _watched(self, user: User) -> Iterator[_Open]:
        mine = _Open(user)
        self._open.setdefault(user.id, set()).add(mine)
        try:
            yield mine
        finally:
            self._open[user.id].discard(mine)
            if not self._open[user.id]:
                del self._open[user.id]

    async def listen(self, told: Callable[[Revocation], None]) -> None:
        """Until cancelled, on a connection of its own; `told` gets each one too."""
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(_CHANNEL)
                    async for message in self._messages(subscription):
                        if message["type"] == "subscribe":
                            self._doubt_all()
                        elif message["type"] == "message":
                            self._obey(message["data"], told)
            except RedisError:
                logger.warning("listening for revocations: redis is not reachable")
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _messages(self, subscription: PubSub) -> AsyncIterator[dict[str, Any]]:
        """Raises RedisError, also when Redis has become silent."""
        pinged = False
        while True:
            message = await subscription.get_message(timeout=self._silence_seconds)
            if message is not None:
                pinged = False
                yield message
            elif pinged:
                raise RedisTimeoutError("no answer to a ping")
            else:
                await subscription.ping()
                pinged = True

    def _doubt_all(self) -> None:
        """Also after the client has connected anew by itself: what was announced meanwhile, nobody has heard."""
        self.heard += 1
        for one in (one for some in self._open.values() for one in some):
            one.doubtful.set()

    def _obey(self, data: bytes, told: Callable[[Revocation], None]) -> None:
        try:
            revocation = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            logger.warning("a message on the channel of revocations is none")
            return
        self.heard += 1
        told(revocation)
        for one in self._open.get(revocation.sub, ()):
            if revocation.credential in (None, one.user.credential):
                one.ended.set()


async def _ask_again(asks: CredentialChecker, mine: _Open, every_seconds: float, soon_seconds: float) -> None:
    wait_seconds = every_seconds
    while not mine.ended.is_set():
        with anyio.move_on_after(wait_seconds):
            await mine.doubtful.wait()
        mine.doubtful.clear()
        try:
            await asks.recheck(mine.user)
            wait_seconds = every_seconds
        except Unauthenticated:
            mine.ended.set()
        except ParleyError:
            wait_seconds = soon_seconds
