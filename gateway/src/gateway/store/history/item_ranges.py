"""Reads ranges of the items along a path, page by page: a conversation may grow for years.

Positions increase along a path, so its runs are read as if they were one sorted set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from redis.asyncio import Redis

from gateway.protocol.ids import position_in
from gateway.protocol.items import Item, decode_item, introduces
from gateway.store.errors import translate_redis_errors
from gateway.store.keys import items_key
from gateway.turn.records import Path

# Decoding more at once would block other tasks.
_ITEMS_AT_ONCE = 2_000
# Most conversations begin with one or two instructions, if any.
_HEAD_AT_ONCE = 16


async def count_items(redis: Redis, user_id: str, path: Path) -> int:
    if not path:
        return 0
    return sum(await _counts(redis, _slices(user_id, path, 0, path[-1].last)))


async def read_head(redis: Redis, user_id: str, path: Path, *, below: int) -> list[Item]:
    """The instructions that begin the path, as far as they have positions below `below`."""
    leading: list[Item] = []
    while True:
        found = await _page(redis, _slices(user_id, path, 0, below - 1), len(leading), _HEAD_AT_ONCE)
        leading += takewhile(introduces, found)
        if not found or leading[-1:] != found[-1:] or len(found) < _HEAD_AT_ONCE:
            return leading


async def read_older(
    redis: Redis, user_id: str, path: Path, count: int, *, head: Sequence[Item], below: int
) -> list[Item]:
    """The last `count` items between the head and the position `below`, or fewer if there are no more."""
    lowest = (position_in(head[-1].id) or 0) + 1 if head else 0
    pages: list[list[Item]] = []
    while count > 0:
        wanted = min(count, _ITEMS_AT_ONCE)
        page = await _page(redis, _slices(user_id, path, lowest, below - 1), 0, wanted, desc=True)
        pages.append(page)
        if len(page) < wanted:
            break
        count, below = count - wanted, position_in(page[-1].id) or 0
    return [item for page in reversed(pages) for item in reversed(page)]


async def read_range(redis: Redis, user_id: str, path: Path, first: int, last: int) -> list[Item]:
    """All items from the position `first` up to the position `last`."""
    items: list[Item] = []
    while True:
        page = await _page(redis, _slices(user_id, path, first, last), len(items), _ITEMS_AT_ONCE)
        items += page
        if len(page) < _ITEMS_AT_ONCE:
            return items


@dataclass(frozen=True, slots=True)
class _Slice:
    """The items of one run in a range of positions; at most `count` of them, after the first `offset`."""

    key: str
    first: int
    last: int
    offset: int = 0
    count: int = 0


async def _page(redis: Redis, slices: Sequence[_Slice], offset: int, count: int, *, desc: bool = False) -> list[Item]:
    """One round trip for a path of one run, two for any other."""
    if len(slices) < 2:
        return await _read(redis, [replace(one, offset=offset, count=count) for one in slices], desc=desc)
    while True:
        order = slices[::-1] if desc else slices
        wanted = _cut(order, await _counts(redis, order), offset, count)
        found = await _read(redis, wanted, desc=desc)
        if len(found) == sum(one.count for one in wanted):
            return found
        # Others were deleted in between: what looks like the end of the path is not.


def _slices(user_id: str, path: Path, first: int, last: int) -> list[_Slice]:
    """Of the runs that may have items in the range."""
    slices: list[_Slice] = []
    for run in path:
        if run.last >= first:
            slices.append(_Slice(items_key(user_id, run.thread_id), first, min(run.last, last)))
        if run.last >= last:
            break
    return slices


def _cut(slices: Sequence[_Slice], sizes: Sequence[int], offset: int, count: int) -> list[_Slice]:
    """Those that hold the items after the first `offset`, each with what to read of it."""
    wanted: list[_Slice] = []
    for one, size in zip(slices, sizes, strict=True):
        skipped = min(offset, size)
        taken = min(count, size - skipped)
        offset, count = offset - skipped, count - taken
        if taken:
            wanted.append(replace(one, offset=skipped, count=taken))
    return wanted


async def _counts(redis: Redis, slices: Sequence[_Slice]) -> list[int]:
    async with translate_redis_errors(), redis.pipeline(transaction=False) as pipe:
        for one in slices:
            pipe.zcount(one.key, one.first, one.last)
        return [int(size) for size in await pipe.execute()]


async def _read(redis: Redis, slices: Sequence[_Slice], *, desc: bool) -> list[Item]:
    async with translate_redis_errors(), redis.pipeline(transaction=False) as pipe:
        for one in slices:
            start, end = (one.last, one.first) if desc else (one.first, one.last)
            pipe.zrange(one.key, start, end, desc=desc, byscore=True, offset=one.offset, num=one.count)
        found: Any = await pipe.execute() if slices else []
    return [decode_item(item) for items in found for item in items]
