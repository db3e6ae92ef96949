"""Who is on the plain-text protocol, on any replica: a departure is told to all others through Redis.

Publish and subscribe is enough here: a departure missed while Redis is away is not worth keeping.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

_CHANNEL = "parley:plain-text:left"
_RECONNECT_SECONDS = 1.0

Notify = Callable[[str], Awaitable[None]]


class Presence:
    def __init__(self, redis: Redis, *, announce: bool) -> None:
        self._redis = redis
        self._announce = announce
        self._present: set[Notify] = set()
        self._notices: set[asyncio.Task[None]] = set()

    def arrive(self, notify: Notify) -> None:
        """`notify` gets one line of text for each client that leaves from now on."""
        self._present.add(notify)

    async def leave(self, notify: Notify, name: str) -> None:
        self._present.discard(notify)
        if not self._announce:
            return
        try:
            await self._redis.publish(_CHANNEL, f"Client #{name} left the chat")
        except RedisError:
            logger.warning("a departure was not announced: redis is not reachable")

    async def listen(self, tried: Callable[[], None] = lambda: None) -> None:
        """Runs until cancelled, on a connection of its own; calls `tried` once it listens, or could not."""
        while self._announce:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(_CHANNEL)
                    tried()
                    async for message in subscription.listen():
                        self._tell_all(message)
            except RedisError:
                logger.warning("listening for departures: redis is not reachable")
            except Exception:
                logger.exception("listening for departures failed")
            tried()
            await asyncio.sleep(_RECONNECT_SECONDS)
        tried()

    def _tell_all(self, message: dict[str, Any]) -> None:
        text = message["data"].decode(errors="replace")
        for notify in tuple(self._present):
            # One slow client must not hold up the others' notice.
            task = asyncio.ensure_future(notify(text))
            self._notices.add(task)
            task.add_done_callback(self._notices.discard)
