"""Detects that Redis has lost data: a marker that is lost with it, and a witness that is not.

Redis replays its append-only file as the user `default`. If that user lacks permissions, Redis drops every transaction
in the file, keeps the plain commands, and reports that it is healthy (https://github.com/redis/redis/issues/14541). So
the marker is written only in transactions, as conversations are, and the witness only by plain commands:

- a witness without its marker, or with a count above the marker's: transactions were dropped. The count finds this also
  where the file was rewritten in between, which preserves the marker as it was then;
- a marker that is not the one this process has seen: the database was emptied, or is another one. A process that starts
  after that cannot tell it from a new installation.

The marker is written before the witness. So what a crash or a failover cuts off the end is never mistaken for a loss.
"""

import secrets
import time
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from gateway.errors import StorageLost
from gateway.store.errors import translate_redis_errors
from gateway.store.keys import MARKER_KEY, WITNESS_KEY


@dataclass(frozen=True, slots=True)
class _Record:
    id: bytes | None
    writes: int


class StorageMarker:
    """Every method raises Unavailable when Redis does not reply, StorageFull when it is full or read-only."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._seen_id: bytes | None = None

    async def check(self) -> None:
        """Raises StorageLost."""
        await self._read()

    async def advance(self) -> None:
        """Counts one more write in marker and witness, and creates both in a new database. Raises StorageLost."""
        witness, now = await self._read(), str(int(time.time()))
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            if self._seen_id is None:
                # Of several gateways that start at once, one creates it.
                pipe.hsetnx(MARKER_KEY, "id", secrets.token_hex(16))
                pipe.hsetnx(MARKER_KEY, "created_at", now)
            # Two writes: of a transaction with only one, Redis appends the plain command to its file.
            pipe.hset(MARKER_KEY, "written_at", now)
            pipe.hincrby(MARKER_KEY, "writes", 1)
            pipe.hmget(MARKER_KEY, ["id", "writes"])
            marker = _record(*(await pipe.execute())[-1])
        # Redis may have restarted since the check. Then this must not overwrite the witness.
        self._compare(marker, witness)
        async with translate_redis_errors():
            await self._redis.hset(WITNESS_KEY, mapping={"id": marker.id or b"", "writes": str(marker.writes)})

    async def _read(self) -> _Record:
        """Returns the witness, if nothing is lost."""
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(WITNESS_KEY, ["id", "writes"])
            pipe.hmget(MARKER_KEY, ["id", "writes"])
            witness, marker = (_record(*values) for values in await pipe.execute())
        self._compare(marker, witness)
        return witness

    def _compare(self, marker: _Record, witness: _Record) -> None:
        is_dropped = witness.id is not None and (witness.id != marker.id or witness.writes > marker.writes)
        is_replaced = self._seen_id is not None and self._seen_id != marker.id
        if is_dropped or is_replaced:
            raise StorageLost
        self._seen_id = marker.id


def _record(marker_id: bytes | None, writes: Any) -> _Record:
    return _Record(marker_id, int(writes or 0))
