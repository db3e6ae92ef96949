"""Reads ranges of a thread's items, page by page: a conversation may grow for years."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from redis.asyncio import Redis

from gateway.protocol.ids import position_in
from gateway.protocol.items import Item, decode_item, introduces
from gateway.store.errors import translate_redis_errors
from gateway.store.keys import items_key

# Decoding more at once would block other tasks.
_ITEMS_AT_ONCE = 2_000
# Most conversations begin with one or two instructions, if any.
_HEAD_AT_ONCE = 16


async def read_head(redis: Redis, user_id: str, thread_id: str, *, below: int) -> list[Item]:
    """The instructions that begin the thread, as far as they have positions below `below`."""
    leading: list[Item] = []
    while True:
        found = await _page(redis, items_key(user_id, thread_id), "-inf", f"({below}", len(leading), _HEAD_AT_ONCE)
        leading += takewhile(introduces, found)
        if not found or leading[-1:] != found[-1:] or len(found) < _HEAD_AT_ONCE:
            return leading


async def read_older(
    redis: Redis, user_id: str, thread_id: str, count: int, *, head: Sequence[Item], below: int
) -> list[Item]:
    """The last `count` items between the head and the position `below`, or fewer if there are no more."""
    lowest = f"({position_in(head[-1].id) or 0}" if head else "-inf"
    pages: list[list[Item]] = []
    while count > 0:
        wanted = min(count, _ITEMS_AT_ONCE)
        page = await _page(redis, items_key(user_id, thread_id), f"({below}", lowest, 0, wanted, desc=True)
        pages.append(page)
        if len(page) < wanted:
            break
        count, below = count - wanted, position_in(page[-1].id) or 0
    return [item for page in reversed(pages) for item in reversed(page)]


async def read_range(redis: Redis, user_id: str, thread_id: str, first: int, last: int) -> list[Item]:
    """All items from the position `first` up to the position `last`."""
    items: list[Item] = []
    while True:
        page = await _page(redis, items_key(user_id, thread_id), str(first), str(last), len(items), _ITEMS_AT_ONCE)
        items += page
        if len(page) < _ITEMS_AT_ONCE:
            return items


async def _page(
    redis: Redis, key: str, start: str, end: str, offset: int, count: int, *, desc: bool = False
) -> list[Item]:
    async with translate_redis_errors():
        found: Any = await redis.zrange(key, start, end, desc=desc, byscore=True, offset=offset, num=count)
    return [decode_item(item) for item in found]
