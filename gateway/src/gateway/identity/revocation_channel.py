"""The revocations that the auth-service publishes through Redis.

parley:revocations    channel: {"sub", "credential": digest or null for all of the user's, "reason"}
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

logger = logging.getLogger(__name__)

_CHANNEL = "parley:revocations"
_RECONNECT_SECONDS = 1.0
# A half-open connection delivers nothing: it is detected after this long without a message, and as long again without
# a reply to a ping.
_SILENCE_SECONDS = 5.0


class Revocation(msgspec.Struct, frozen=True):
    sub: str
    credential: str | None = None
    reason: str = ""


_decode = msgspec.json.Decoder(Revocation).decode


class RevocationChannel:
    def __init__(
        self,
        redis: Redis,
        *,
        silence_seconds: float = _SILENCE_SECONDS,
        reconnect_seconds: float = _RECONNECT_SECONDS,
    ) -> None:
        self._redis = redis
        self._silence_seconds = silence_seconds
        self._reconnect_seconds = reconnect_seconds

    async def listen(self, on_revocation: Callable[[Revocation], None], *, on_subscribed: Callable[[], None]) -> None:
        """Until cancelled. `on_subscribed`: whatever was published before this moment may be lost."""
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(_CHANNEL)
                    async for message in self._messages(subscription):
                        if message["type"] == "subscribe":  # also after redis-py has reconnected by itself
                            on_subscribed()
                        elif message["type"] == "message" and (revocation := _parse(message["data"])):
                            on_revocation(revocation)
            except RedisError:
                logger.warning("redis is not reachable: not listening for revocations")
            await asyncio.sleep(self._reconnect_seconds)

    async def _messages(self, subscription: PubSub) -> AsyncIterator[dict[str, Any]]:
        """Raises RedisError, also when Redis has fallen silent."""
        is_pinged = False
        while True:
            message = await subscription.get_message(timeout=self._silence_seconds)
            if message is not None:
                is_pinged = False
                yield message
            elif is_pinged:
                raise RedisTimeoutError("no reply to a ping")
            else:
                await subscription.ping()
                is_pinged = True


def _parse(data: bytes) -> Revocation | None:
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        logger.warning("invalid message on the revocation channel")
        return None
