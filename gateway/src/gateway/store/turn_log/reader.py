"""Follows the turns that run on other gateways, and receives their commands: one blocking read for a whole process, on
a connection of its own. On a shared connection a blocking read would delay all other commands.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import Unavailable
from gateway.store.clock import redis_now_ms
from gateway.store.errors import translate_redis_errors
from gateway.store.keys import control_key, segment_key
from gateway.store.turn_log.commands import decode_command, encode_command
from gateway.store.turn_log.followed_log import FollowedLog
from gateway.turn.commands import GatewayCommand
from gateway.turn.event_buffer import EventBuffer
from gateway.turn.log_entry import Fields

logger = logging.getLogger(__name__)

CommandHandler = Callable[[GatewayCommand, int], None]
"""Gets a command, and the time by the clock of Redis in Unix milliseconds."""

# The client's own timeout must be longer.
BLOCK_SECONDS = 1
# Of one log when few are followed; when many are, the total bounds the reply.
_MAX_ENTRIES_PER_LOG = 500
_MAX_ENTRIES = 5000
_RETRY_SECONDS = 0.2
_MAX_CONTROL_ENTRIES = 1000
_CONTROL_RETENTION_SECONDS = 86_400


class Reader:
    # Two checks this far apart find a log that was deleted before its end was read.
    check_seconds = 10.0

    def __init__(self, redis: Redis, blocking: Redis, gateway_id: str) -> None:
        """`blocking` is for this reader alone."""
        self._redis = redis
        self._blocking = blocking
        self._gateway_id = gateway_id
        self._control = control_key(gateway_id)
        self._last_control_id = b"0-0"
        self._logs: dict[tuple[str, str], FollowedLog] = {}
        self._checked_at = 0.0

    async def exists(self, user_id: str, response_id: str) -> bool:
        """Raises Unavailable."""
        async with translate_redis_errors():
            return bool(await self._redis.exists(segment_key(user_id, response_id, 0)))

    @asynccontextmanager
    async def events(self, user_id: str, response_id: str) -> AsyncIterator[EventBuffer]:
        """They arrive while the context is open and Redis replies. When the log was deleted, they end incomplete."""
        key = (user_id, response_id)
        log = self._logs.setdefault(key, FollowedLog(user_id, response_id))
        log.follower_count += 1
        try:
            await self._wake()
            yield log.events
        finally:
            log.follower_count -= 1
            if not log.follower_count:
                del self._logs[key]

    async def _wake(self) -> None:
        """Interrupts this process's own blocking read, so that the next one includes the new log; otherwise its events
        would be late by up to a second."""
        try:
            await self._add_control_entry(self._gateway_id, {"wake": "1"})
        except Unavailable:
            logger.info("a follower waits: redis does not reply")

    async def send_command(self, gateway_id: str, command: GatewayCommand) -> None:
        """Durable until the gateway has read it. Raises Unavailable."""
        await self._add_control_entry(gateway_id, encode_command(command))

    async def _add_control_entry(self, gateway_id: str, fields: dict[str, str]) -> None:
        control = control_key(gateway_id)
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.xadd(control, fields, maxlen=_MAX_CONTROL_ENTRIES, approximate=True)  # type: ignore[arg-type]
            pipe.expire(control, _CONTROL_RETENTION_SECONDS)
            await pipe.execute()

    async def run(self, handle_command: CommandHandler) -> None:
        """Until cancelled. `handle_command` is called with each command that other gateways send to this one."""
        while True:
            try:
                await self._read_once(handle_command)
            except RedisError as exc:
                logger.warning("followers wait: redis does not reply", extra={"error": str(exc)})
                for log in self._logs.values():
                    log.read_again()
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:
                logger.exception("reading the logs of other gateways failed")
                await asyncio.sleep(_RETRY_SECONDS)

    async def _read_once(self, handle_command: CommandHandler) -> None:
        # Without those that have ended. If the followers of a log leave during the read, its reply is discarded.
        logs = {log.key: log for log in self._logs.values() if not log.events.is_closed}
        last_ids: Any = {self._control: self._last_control_id, **{key: log.last_id for key, log in logs.items()}}
        count = min(_MAX_ENTRIES_PER_LOG, _MAX_ENTRIES // len(last_ids) + 1)
        found: Any = await self._blocking.xread(last_ids, count=count, block=BLOCK_SECONDS * 1000)
        for name, entries in found:
            log = logs.get(name.decode())
            if log is not None:
                log.append(entries)
                continue
            self._last_control_id = entries[-1][0]
            await self._handle_commands(handle_command, [fields for _, fields in entries])
        if logs and time.monotonic() - self._checked_at > self.check_seconds:
            await self._check_existence(list(logs.values()))

    async def _handle_commands(self, handle_command: CommandHandler, entries: Sequence[Fields]) -> None:
        commands = [command for fields in entries if (command := _decode(fields)) is not None]
        if not commands:
            return  # the entries only woke this reader
        now_ms = await redis_now_ms(self._redis)
        for command in commands:
            # A command that fails does not affect the others.
            try:
                handle_command(command, now_ms)
            except Exception:
                logger.exception("a command from another gateway failed", extra={"command": repr(command)})

    async def _check_existence(self, logs: Sequence[FollowedLog]) -> None:
        """To a blocking read, a log without new events looks like one that was deleted."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for log in logs:
                pipe.exists(log.existing_key)
            found = await pipe.execute()
        self._checked_at = time.monotonic()
        for log, exists in zip(logs, found, strict=True):
            log.record_check(exists=bool(exists))


def _decode(fields: Fields) -> GatewayCommand | None:
    """None also for a command that cannot be read, which does not affect the others."""
    try:
        return decode_command(fields)
    except Exception:
        logger.exception("a command from another gateway failed", extra={"command": sorted(map(bytes.decode, fields))})
        return None
