"""Reads ranges of a thread's items, page by page: a conversation may grow for years, an item may have a megabyte."""

from collections.abc import Sequence
from dataclasses import dataclass, field
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

_ITEMS_AT_ONCE = 2_000
# Of a thread with more than READ_BYTES. Redis replies with whole items, however long they are.
LARGE_ITEMS_AT_ONCE = 8


@dataclass(slots=True)
class ItemPages:
    """Items of one thread, in the order in which they are read. `is_end`: there are no more of them."""

    redis: Redis
    user_id: str
    thread_id: str
    items: list[Item] = field(default_factory=list)
    byte_count: int = 0
    is_end: bool = False
    _pacer: Pacer = field(default_factory=Pacer)

    async def read(self, start: str, end: str, count: int, *, desc: bool = True) -> None:
        """Up to `count` more, from the position `start` to `end` as Redis writes them; stops after READ_BYTES."""
        key, until = items_key(self.user_id, self.thread_id), self.byte_count + READ_BYTES
        at_once = page_size(*await stored_sizes(self.redis, self.user_id, [key]))
        while count > 0 and not self.is_end and self.byte_count < until:
            wanted = min(count, at_once)
            found = await _page(self.redis, key, start, end, 0, wanted, desc=desc)
            await self.add(found, wanted)
            count -= len(found)
            start = f"({self.last_position}"

    async def add(self, found: Sequence[bytes], wanted: int) -> None:
        """`found` by Redis where `wanted` were requested."""
        for item in found:
            self.items.append(decode_item(item))
            self.byte_count += len(item)
            await self._pacer.pause_if_due()
        self.is_end = len(found) < wanted

    @property
    def last_position(self) -> int:
        return (position_in(self.items[-1].id) or 0) if self.items else 0


def page_size(thread_bytes: int | None) -> int:
    """How many items to read at once."""
    return _ITEMS_AT_ONCE if thread_bytes is not None and thread_bytes <= READ_BYTES else LARGE_ITEMS_AT_ONCE


async def read_head(redis: Redis, user_id: str, thread_id: str, *, below: int) -> list[Item]:
    """The instructions that begin the thread, as far as they have positions below `below`. Raises
    ContextLengthExceeded for more than any model reads."""
    pages = ItemPages(redis, user_id, thread_id)
    while True:
        await pages.read(f"({pages.last_position}", f"({below}", LARGE_ITEMS_AT_ONCE, desc=False)
        leading = list(takewhile(introduces, pages.items))
        if pages.is_end or len(leading) < len(pages.items):
            return leading
        if pages.byte_count > MAX_READ_BYTES:
            raise ContextLengthExceeded


async def read_range(redis: Redis, user_id: str, thread_id: str, first: int, last: int) -> list[Item]:
    """All items from the position `first` up to the position `last`."""
    pages = ItemPages(redis, user_id, thread_id)
    await pages.read(str(first), str(last), _ITEMS_AT_ONCE, desc=False)
    while not pages.is_end:
        await pages.read(f"({pages.last_position}", str(last), _ITEMS_AT_ONCE, desc=False)
    return pages.items


async def _page(
    redis: Redis, key: str, start: str, end: str, offset: int, count: int, *, desc: bool = False
) -> list[bytes]:
    async with translate_redis_errors():
        found: Any = await redis.zrange(key, start, end, desc=desc, byscore=True, offset=offset, num=count)
    return list(found)
