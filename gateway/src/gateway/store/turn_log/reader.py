"""Following turns that run on other replicas: all of a process with one blocking read, on a connection of its own.

A blocking read on a shared connection would starve everything else on it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import Unavailable
from gateway.store.errors import translated
from gateway.store.turn_log.commands import decode_command, encode_command
from gateway.store.turn_log.keys import control_key, segment_key
from gateway.turn.commands import GatewayCommand
from gateway.turn.event_buffer import EventBuffer
from gateway.turn.log_entry import Fields, decode_frame, fenced_by, is_terminal

logger = logging.getLogger(__name__)

# The client's own timeout must be longer.
BLOCK_SECONDS = 1
# Of one log with few others; of many the answer would be as long as all of them.
_ENTRIES_AT_ONCE = 500
_ENTRIES_IN_ALL = 5000
_PAUSE_SECONDS = 0.2
_CONTROL_ENTRIES = 1000
_CONTROL_KEPT_SECONDS = 86_400


@dataclass(slots=True)
class _Mirror:
    """What has been read of a log, for all who follow it here. `last_id` is in the newest `segment`."""

    user_id: str
    response_id: str
    events: EventBuffer = field(default_factory=EventBuffer)
    segment: int = 0
    last_id: bytes = b"0-0"
    followers: int = 0
    missed: int = 0

    @property
    def key(self) -> str:
        return segment_key(self.user_id, self.response_id, self.segment)

    @property
    def begun_key(self) -> str:
        """Whoever takes a turn over may have nothing to say for long, but the seal before is there."""
        return segment_key(self.user_id, self.response_id, max(self.segment - 1, 0))

    def take(self, entries: Sequence[tuple[bytes, Fields]]) -> None:
        for entry_id, fields in entries:
            self.last_id = entry_id
            if fenced_by(fields) is not None:
                self.segment, self.last_id = self.segment + 1, b"0-0"
                return
            self.events.append([decode_frame(entry_id, fields)], ended=is_terminal(fields))


class Reader:
    # A log that is missed twice, so far apart, was deleted before its end was read.
    check_seconds = 10.0

    def __init__(self, redis: Redis, blocking: Redis, gateway_id: str) -> None:
        """`blocking` is for this reader alone."""
        self._redis = redis
        self._blocking = blocking
        self._gateway_id = gateway_id
        self._control = control_key(gateway_id)
        self._control_last = b"0-0"
        self._mirrors: dict[tuple[str, str], _Mirror] = {}
        self._checked_at = 0.0

    async def exists(self, user_id: str, response_id: str) -> bool:
        """Raises Unavailable."""
        async with translated():
            return bool(await self._redis.exists(segment_key(user_id, response_id, 0)))

    @asynccontextmanager
    async def events(self, user_id: str, response_id: str) -> AsyncIterator[EventBuffer]:
        """They arrive while the context is open, and Redis answers. Of a log that is gone they end incomplete."""
        whose = (user_id, response_id)
        mirror = self._mirrors.setdefault(whose, _Mirror(user_id, response_id))
        mirror.followers += 1
        try:
            await self._wake()
            yield mirror.events
        finally:
            mirror.followers -= 1
            if not mirror.followers:
                del self._mirrors[whose]

    async def _wake(self) -> None:
        """This process's own read, so that it takes the new log in; without it that is a second late."""
        try:
            await self._add_control_entry(self._gateway_id, {"wake": "1"})
        except Unavailable:
            logger.info("a follower waits: redis does not answer")

    async def send_command(self, gateway_id: str, command: GatewayCommand) -> None:
        """Durable until the gateway has read it. Raises Unavailable."""
        await self._add_control_entry(gateway_id, encode_command(command))

    async def _add_control_entry(self, gateway_id: str, fields: dict[str, str]) -> None:
        control = control_key(gateway_id)
        async with translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.xadd(control, fields, maxlen=_CONTROL_ENTRIES, approximate=True)  # type: ignore[arg-type]
            pipe.expire(control, _CONTROL_KEPT_SECONDS)
            await pipe.execute()

    async def run(self, handle_command: Callable[[GatewayCommand], None]) -> None:
        """Until cancelled. `handle_command` is called with each command that other gateways send to this one."""
        while True:
            try:
                await self._read_once(handle_command)
            except RedisError as exc:
                logger.warning("following waits: redis does not answer", extra={"error": str(exc)})
                await asyncio.sleep(_PAUSE_SECONDS)
            except Exception:
                logger.exception("following failed")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _read_once(self, handle_command: Callable[[GatewayCommand], None]) -> None:
        wanted: Any = {self._control: self._control_last}
        # An ended one is not read again, and one whose followers leave meanwhile is only read in vain.
        mirrors = {mirror.key: mirror for mirror in self._mirrors.values() if not mirror.events.is_closed}
        wanted |= {key: mirror.last_id for key, mirror in mirrors.items()}
        most = min(_ENTRIES_AT_ONCE, _ENTRIES_IN_ALL // len(wanted) + 1)
        found: Any = await self._blocking.xread(wanted, count=most, block=BLOCK_SECONDS * 1000)
        for name, entries in found:
            mirror = mirrors.get(name.decode())
            if mirror is not None:
                mirror.take(entries)
                continue
            self._control_last = entries[-1][0]
            for _, fields in entries:
                _dispatch(handle_command, fields)
        if mirrors and time.monotonic() - self._checked_at > self.check_seconds:
            await self._end_what_is_gone(list(mirrors.values()))

    async def _end_what_is_gone(self, mirrors: Sequence[_Mirror]) -> None:
        """A blocking read can not tell a log that says nothing from one that was deleted."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for mirror in mirrors:
                pipe.exists(mirror.begun_key)
            there = await pipe.execute()
        self._checked_at = time.monotonic()
        for mirror, found in zip(mirrors, there, strict=True):
            mirror.missed = 0 if found else mirror.missed + 1
            if mirror.missed > 1:
                mirror.events.close(moved=True)


def _dispatch(handle_command: Callable[[GatewayCommand], None], fields: Fields) -> None:
    """A command that fails does not affect the others."""
    try:
        command = decode_command(fields)
        if command is not None:
            handle_command(command)
    except Exception:
        logger.exception("a command from another gateway failed", extra={"command": sorted(map(bytes.decode, fields))})
