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
from typing import Any, Self

from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.errors import StorageLost
from gateway.store.errors import translate_redis_errors
from gateway.store.keys import MARKER_KEY, WITNESS_KEY

_FIELDS = ("id", "writes")


@dataclass(frozen=True, slots=True)
class _Record:
    id: bytes | None
    writes: int

    @classmethod
    def decode(cls, values: Any) -> Self:
        marker_id, writes = values
        return cls(marker_id, int(writes or 0))

    def encode(self) -> dict[Any, Any]:
        return {"id": self.id, "writes": self.writes}


class StorageMarker:
    """Every method raises Unavailable when Redis does not reply, StorageFull when it is full or read-only."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._seen_id: bytes | None = None

    async def check(self) -> None:
        """Raises StorageLost."""
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            # In this order: another gateway writes the marker first.
            pipe.hmget(WITNESS_KEY, _FIELDS)
            pipe.hmget(MARKER_KEY, _FIELDS)
            witness, marker = (_Record.decode(values) for values in await pipe.execute())
        self._compare(marker, witness)

    async def advance(self) -> None:
        """Counts one more write in marker and witness, and creates both in a new database. Raises StorageLost."""
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            # Protects the evidence: after a loss from here on, also in a restart of Redis, the transaction fails.
            await pipe.watch(MARKER_KEY)
            witness = _Record.decode(await pipe.hmget(WITNESS_KEY, _FIELDS))
            marker = _Record.decode(await pipe.hmget(MARKER_KEY, _FIELDS))
            self._compare(marker, witness)
            pipe.multi()  # type: ignore[no-untyped-call]
            written = _add_write(pipe, marker)
            try:
                await pipe.execute()
            except WatchError:
                return  # another gateway has just done it, or the next check finds the loss
            self._seen_id = written.id
            await self._redis.hset(WITNESS_KEY, mapping=written.encode())

    def _compare(self, marker: _Record, witness: _Record) -> None:
        is_dropped = witness.id is not None and (witness.id != marker.id or witness.writes > marker.writes)
        is_replaced = self._seen_id is not None and self._seen_id != marker.id
        if is_dropped or is_replaced:
            raise StorageLost
        self._seen_id = marker.id


def _add_write(pipe: Any, marker: _Record) -> _Record:
    now = int(time.time())  # for an operator who reads the marker; nothing compares it
    written = _Record(marker.id or secrets.token_hex(16).encode(), marker.writes + 1)
    if marker.id is None:
        pipe.hset(MARKER_KEY, "created_at", now)
    # Two commands: of a transaction with a single one, Redis appends only that command to its file.
    pipe.hset(MARKER_KEY, "written_at", now)
    pipe.hset(MARKER_KEY, mapping=written.encode())
    return written
