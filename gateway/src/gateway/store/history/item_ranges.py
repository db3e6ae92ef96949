"""Reads ranges of the items along a path, page by page: a conversation may grow for years, an item may have a megabyte.

Positions increase along a path, so its runs are read as if they were one sorted set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from redis.asyncio import Redis

from gateway.errors import ContextLengthExceeded
from gateway.pauses import Pacer
from gateway.protocol.ids import position_in
from gateway.protocol.items import Item, decode_item, introduces
from gateway.store.errors import translate_redis_errors
from gateway.store.history.quota import stored_sizes
from gateway.store.keys import items_key
from gateway.turn.limits import MAX_READ_BYTES, READ_BYTES
from gateway.turn.records import Path

_ITEMS_AT_ONCE = 2_000
# Of a thread with more than READ_BYTES. Redis replies with whole items, however long they are.
LARGE_ITEMS_AT_ONCE = 8


@dataclass(slots=True)
class ItemPages:
    """Items along a path, in the order in which they are read. `is_end`: there are no more of them."""

    redis: Redis
    user_id: str
    path: Path
    items: list[Item] = field(default_factory=list)
    byte_count: int = 0
    is_end: bool = False
    _pacer: Pacer = field(default_factory=Pacer)

    async def read(self, first: int, last: int, count: int, *, desc: bool = True) -> None:
        """Up to `count` more, of those from the position `first` to `last`; stops after READ_BYTES."""
        until = self.byte_count + READ_BYTES
        sizes = await stored_sizes(self.redis, self.user_id, [run.thread_id for run in self.path])
        is_small = _are_small(sizes)
        while count > 0 and not self.is_end and self.byte_count < until:
            wanted = min(count, _ITEMS_AT_ONCE if is_small else self._fitting(until))
            found = await _page(self.redis, _slices(self.user_id, self.path, first, last), wanted, desc=desc)
            count -= await self.add(found, wanted, until)
            first, last = (first, self.last_position - 1) if desc else (self.last_position + 1, last)

    async def add(self, found: Sequence[bytes], wanted: int, until: int) -> int:
        """`found` by Redis where `wanted` were requested. Returns how many were added, which are fewer where long items
        exceed `until` bytes."""
        for added, item in enumerate(found, start=1):
            self.items.append(decode_item(item))
            self.byte_count += len(item)
            if self.byte_count >= until and added < len(found):
                return added
            await self._pacer.pause_if_due()
        self.is_end = len(found) < wanted
        return len(found)

    def _fitting(self, until: int) -> int:
        """How many items to read of a large thread, judged by those before: two may have a megabyte each."""
        if not self.items:
            return 2
        average = max(1, self.byte_count // len(self.items))
        return max(1, min(LARGE_ITEMS_AT_ONCE, (until - self.byte_count) // average))

    @property
    def last_position(self) -> int:
        return (position_in(self.items[-1].id) or 0) if self.items else 0


def _are_small(thread_bytes: Sequence[int | None]) -> bool:
    """Whether threads of these sizes may be read in one go. One that was not counted may not."""
    known = [size for size in thread_bytes if size is not None]
    return len(known) == len(thread_bytes) and sum(known) <= READ_BYTES


async def count_items(redis: Redis, user_id: str, path: Path) -> int:
    return sum(await _counts(redis, _slices(user_id, path, 0, path[-1].last))) if path else 0


async def read_head(redis: Redis, user_id: str, path: Path, *, below: int) -> list[Item]:
    """The instructions that begin the path, as far as they have positions below `below`. Raises ContextLengthExceeded
    for more than any model reads."""
    pages = ItemPages(redis, user_id, path)
    while True:
        await pages.read(pages.last_position + 1, below - 1, LARGE_ITEMS_AT_ONCE, desc=False)
        leading = list(takewhile(introduces, pages.items))
        if pages.is_end or len(leading) < len(pages.items):
            return leading
        if pages.byte_count > MAX_READ_BYTES:
            raise ContextLengthExceeded


async def read_range(redis: Redis, user_id: str, path: Path, first: int, last: int) -> list[Item]:
    """All items from the position `first` up to the position `last`."""
    pages = ItemPages(redis, user_id, path)
    await pages.read(first, last, _ITEMS_AT_ONCE, desc=False)
    while not pages.is_end:
        await pages.read(pages.last_position + 1, last, _ITEMS_AT_ONCE, desc=False)
    return pages.items


@dataclass(frozen=True, slots=True)
class _Slice:
    """The items of one run in a range of positions, and how many of them to read."""

    key: str
    first: int
    last: int
    count: int = 0


async def _page(redis: Redis, slices: Sequence[_Slice], count: int, *, desc: bool) -> list[bytes]:
    """One round trip for a path of one run, two for any other."""
    if len(slices) < 2:
        return await _read(redis, [replace(one, count=count) for one in slices], desc=desc)
    order = slices[::-1] if desc else slices
    while True:
        wanted = _cut(order, await _counts(redis, order), count)
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


def _cut(slices: Sequence[_Slice], sizes: Sequence[int], count: int) -> list[_Slice]:
    """Those that hold the first `count` items, each with what to read of it."""
    wanted: list[_Slice] = []
    for one, size in zip(slices, sizes, strict=True):
        taken = min(count, size)
        count -= taken
        if taken:
            wanted.append(replace(one, count=taken))
    return wanted


async def _counts(redis: Redis, slices: Sequence[_Slice]) -> list[int]:
    async with translate_redis_errors(), redis.pipeline(transaction=False) as pipe:
        for one in slices:
            pipe.zcount(one.key, one.first, one.last)
        return [int(size) for size in await pipe.execute()]


async def _read(redis: Redis, slices: Sequence[_Slice], *, desc: bool) -> list[bytes]:
    async with translate_redis_errors(), redis.pipeline(transaction=False) as pipe:
        for one in slices:
            start, end = (one.last, one.first) if desc else (one.first, one.last)
            pipe.zrange(one.key, start, end, desc=desc, byscore=True, offset=0, num=one.count)
        found: Any = await pipe.execute() if slices else []
    return [item for items in found for item in items]
