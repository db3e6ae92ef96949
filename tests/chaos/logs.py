"""An answer's log in Redis, with all its segments."""

from typing import Any

from redis.asyncio import Redis

from gateway.turn_log.entries import SEAL_ID, is_last, sealed_by
from gateway.turn_log.keys import segment_key
from tests.chaos.oracle import Segment


async def owner_of(redis: Redis, response_id: str) -> str:
    """The user's id."""
    async for key in redis.scan_iter(match=f"parley:*:response:{response_id}", count=10_000):
        return str(key.decode().partition("{")[2].partition("}")[0])
    raise LookupError(f"no such response in Redis: {response_id}")


async def segments(redis: Redis, user_id: str, response_id: str) -> list[Segment]:
    found: list[Segment] = []
    while True:
        entries: Any = await redis.xrange(segment_key(user_id, response_id, len(found)))
        if not entries:
            return found
        found.append(_segment(entries))


def _segment(entries: list[tuple[bytes, dict[bytes, bytes]]]) -> Segment:
    seals = [place for place, (_, fields) in enumerate(entries) if sealed_by(fields) is not None]
    events = entries[: seals[0]] if seals else entries
    assert not seals or entries[seals[0]][0].decode() == SEAL_ID
    return Segment(
        ids=tuple(entry_id.decode() for entry_id, _ in events),
        is_fenced=bool(seals),
        is_terminal=bool(events) and is_last(events[-1][1]),
        entries_after_fence=len(entries) - seals[0] - 1 if seals else 0,
    )
