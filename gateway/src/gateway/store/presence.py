"""The clients of the plain-text protocol: a departure is announced to all others, on every gateway.

Publish and subscribe is enough here: a departure that is missed while Redis is unreachable is not worth storing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.store.keys import DEPARTURES_CHANNEL

logger = logging.getLogger(__name__)

_RECONNECT_SECONDS = 1.0

Notify = Callable[[str], Awaitable[None]]


class Presence:
    def __init__(self, redis: Redis, *, announce: bool) -> None:
        self._redis = redis
        self._announce = announce
        self._present: set[Notify] = set()
        self._notices: set[asyncio.Task[None]] = set()

    def arrive(self, notify: Notify) -> None:
        """From now on `notify` gets one line of text for each client that leaves."""
        self._present.add(notify)

    async def leave(self, notify: Notify, name: str) -> None:
        self._present.discard(notify)
        if not self._announce:
            return
        try:
            await self._redis.publish(DEPARTURES_CHANNEL, f"Client #{name} left the chat")
        except RedisError:
            logger.warning("a departure was not announced: redis is not reachable")

    async def listen(self, on_attempt: Callable[[], None] = lambda: None) -> None:
        """Until cancelled, on a connection of its own; returns at once where departures are not announced. Calls
        `on_attempt` after each attempt to subscribe, successful or not."""
        if not self._announce:
            on_attempt()
            return
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(DEPARTURES_CHANNEL)
                    on_attempt()
                    async for message in subscription.listen():
                        self._notify_all(message)
            except RedisError:
                logger.warning("departures are not received: redis is not reachable")
            except Exception:
                logger.exception("receiving departures failed")
            on_attempt()
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _notify_all(self, message: dict[str, Any]) -> None:
        text = message["data"].decode(errors="replace")
        for notify in tuple(self._present):
            # One slow client must not delay the others' notice.
            task = asyncio.ensure_future(notify(text))
            self._notices.add(task)
            task.add_done_callback(self._notices.discard)
