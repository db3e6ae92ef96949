"""Following turns that run on other replicas: all of a process with one blocking read, on a connection of its own.

A blocking read on a shared connection would starve everything else on it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import Unavailable
from gateway.turn_log.entries import Fields, frame_of, is_last
from gateway.turn_log.frames import Frames
from gateway.turn_log.keys import control_key, log_key

logger = logging.getLogger(__name__)

# The client's own timeout must be longer.
BLOCK_SECONDS = 5
_ENTRIES_AT_ONCE = 500
_PAUSE_SECONDS = 0.2
_CONTROL_ENTRIES = 1000
_CONTROL_KEPT_SECONDS = 86_400


@dataclass(slots=True)
class _Mirror:
    """What has been read of a log, for all who follow it here."""

    frames: Frames = field(default_factory=Frames)
    last_id: bytes = b"0-0"
    followers: int = 0


class Reader:
    def __init__(self, redis: Redis, blocking: Redis, gateway_id: str) -> None:
        """`blocking` is for this reader alone."""
        self._redis = redis
        self._blocking = blocking
        self._control = control_key(gateway_id)
        self._control_last = b"0-0"
        self._mirrors: dict[str, _Mirror] = {}

    async def exists(self, user_id: str, response_id: str) -> bool:
        """Raises Unavailable."""
        try:
            return bool(await self._redis.exists(log_key(user_id, response_id)))
        except RedisError as exc:
            raise Unavailable("redis") from exc

    @asynccontextmanager
    async def frames(self, user_id: str, response_id: str) -> AsyncIterator[Frames]:
        """They arrive while the context is open. Raises Unavailable."""
        key = log_key(user_id, response_id)
        mirror = self._mirrors.setdefault(key, _Mirror())
        mirror.followers += 1
        try:
            await self.tell(self._control, {"wake": "1"})
            yield mirror.frames
        finally:
            mirror.followers -= 1
            if not mirror.followers:
                del self._mirrors[key]

    async def ask_to_cancel(self, gateway_id: str, response_id: str) -> None:
        """Wakes the owner of a turn, on whatever replica. Raises Unavailable."""
        await self.tell(control_key(gateway_id), {"cancel": response_id})

    async def tell(self, control: str, fields: dict[str, str]) -> None:
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.xadd(control, fields, maxlen=_CONTROL_ENTRIES, approximate=True)  # type: ignore[arg-type]
                pipe.expire(control, _CONTROL_KEPT_SECONDS)
                await pipe.execute()
        except RedisError as exc:
            raise Unavailable("redis") from exc

    async def run(self, cancel: Callable[[str], None]) -> None:
        """Until cancelled; `cancel` gets the id of each response that somebody wants stopped."""
        while True:
            try:
                await self._read_once(cancel)
            except RedisError as exc:
                logger.warning("following waits: redis does not answer", extra={"error": str(exc)})
                await asyncio.sleep(_PAUSE_SECONDS)
            except Exception:
                logger.exception("following failed")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _read_once(self, cancel: Callable[[str], None]) -> None:
        wanted: Any = {self._control: self._control_last}
        wanted |= {key: mirror.last_id for key, mirror in self._mirrors.items()}
        found: Any = await self._blocking.xread(wanted, count=_ENTRIES_AT_ONCE, block=BLOCK_SECONDS * 1000)
        for name, entries in found:
            if name.decode() == self._control:
                self._control_last = entries[-1][0]
                for _, fields in entries:
                    if b"cancel" in fields:
                        cancel(fields[b"cancel"].decode())
            else:
                self._mirror(name.decode(), entries)

    def _mirror(self, key: str, entries: list[tuple[bytes, Fields]]) -> None:
        mirror = self._mirrors.get(key)
        if mirror is None:
            return  # its last follower left while the read was under way
        if int(entries[0][0].partition(b"-")[0]) != len(mirror.frames) + 1:
            return  # asked for by an earlier follower: the next read begins where this one has to
        mirror.last_id = entries[-1][0]
        frames = [frame_of(entry_id, fields) for entry_id, fields in entries]
        mirror.frames.append(frames, ended=is_last(entries[-1][1]))
