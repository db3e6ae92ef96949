"""What stands before the most recent items of a thread, page by page: a conversation may go on for years."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from redis.asyncio import Redis

from gateway.protocol.ids import position_in
from gateway.protocol.items import Item, decode_item, introduces
from gateway.store.errors import translated
from gateway.store.history.keys import items_key

# As many are decoded before others have their turn.
_ITEMS_AT_ONCE = 2_000
# Seldom does anybody introduce a conversation with more than one or two.
_HEAD_AT_ONCE = 16


async def head(redis: Redis, user_id: str, thread_id: str, *, below: int) -> list[Item]:
    """What the model was told before anything was asked, as far as it stands below a position."""
    leading: list[Item] = []
    while True:
        found = await _page(redis, items_key(user_id, thread_id), "-inf", f"({below}", len(leading), _HEAD_AT_ONCE)
        leading += takewhile(introduces, found)
        if not found or leading[-1:] != found[-1:] or len(found) < _HEAD_AT_ONCE:
            return leading


async def just_below(
    redis: Redis, user_id: str, thread_id: str, count: int, *, above: Sequence[Item], below: int
) -> list[Item]:
    """The `count` items below a position, or as many as there are behind the ones `above` which they stand."""
    lowest = f"({position_in(above[-1].id) or 0}" if above else "-inf"
    pages: list[list[Item]] = []
    while count > 0:
        wanted = min(count, _ITEMS_AT_ONCE)
        page = await _page(redis, items_key(user_id, thread_id), f"({below}", lowest, 0, wanted, desc=True)
        pages.append(page)
        if len(page) < wanted:
            break
        count, below = count - wanted, position_in(page[-1].id) or 0
    return [item for page in reversed(pages) for item in reversed(page)]


async def all_between(redis: Redis, user_id: str, thread_id: str, first: int, last: int) -> list[Item]:
    items: list[Item] = []
    while True:
        page = await _page(redis, items_key(user_id, thread_id), str(first), str(last), len(items), _ITEMS_AT_ONCE)
        items += page
        if len(page) < _ITEMS_AT_ONCE:
            return items


async def _page(
    redis: Redis, key: str, start: str, end: str, offset: int, count: int, *, desc: bool = False
) -> list[Item]:
    async with translated():
        found: Any = await redis.zrange(key, start, end, desc=desc, byscore=True, offset=offset, num=count)
    return [decode_item(item) for item in found]
