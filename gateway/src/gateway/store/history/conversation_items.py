"""The items of a conversation, one by one, as their owner adds and deletes them."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.errors import NotFound
from gateway.protocol.ids import position_in
from gateway.protocol.input_items import InputItem
from gateway.protocol.items import Item, decode_item, encode_item
from gateway.protocol.resources import Conversation, Order, Page
from gateway.store.errors import translated
from gateway.store.history.keys import index_key, items_key, now_ms, thread_key
from gateway.store.history.reading import checked_key, read
from gateway.store.history.sizes import StorageQuota, charge
from gateway.store.history.transaction import transact
from gateway.turn.limits import check_item_limit


class ConversationItems:
    """Every method raises Unavailable when Redis does not answer, and NotFound for what is somebody else's as for what
    is not there."""

    def __init__(self, redis: Redis, sizes: StorageQuota) -> None:
        self._redis = redis
        self._sizes = sizes

    async def create(self, user_id: str, conversation_id: str, items: Sequence[InputItem]) -> Page[Item]:
        """Adds them at the end, side by side also when a turn begins at the same moment. Raises StorageLimit."""
        checked_key(user_id, conversation_id)
        await self._sizes.check(user_id)
        async with translated():
            there = await self._redis.zcard(items_key(user_id, conversation_id))
        check_item_limit(there, len(items))

        def write(pipe: Any, found: list[Any]) -> tuple[Item, ...]:
            last = int(found[0] or 0)
            made = tuple(item.at(position) for position, item in enumerate(items, start=last + 1))
            pipe.hset(thread_key(user_id, conversation_id), "position", str(last + len(items)))
            kept = members(made)
            pipe.zadd(items_key(user_id, conversation_id), kept)
            charge(pipe, user_id, items_key(user_id, conversation_id), kept)
            pipe.zadd(index_key(user_id), {conversation_id: now_ms()})
            return made

        return _page(await transact(self._redis, user_id, conversation_id, ["position"], write), more=False)

    async def page(
        self, user_id: str, conversation_id: str, *, limit: int, after: str | None, order: Order
    ) -> Page[Item]:
        """By position, which is in the id: an `after` that was deleted meanwhile is as good as any."""
        await read(self._redis, user_id, conversation_id)
        position = None if after is None else position_in(after)
        if after is not None and position is None:
            raise NotFound("item", param="after")
        desc = order == "desc"
        start = ("+inf" if desc else "-inf") if position is None else f"({position}"
        async with translated():
            found: Any = await self._redis.zrange(
                items_key(user_id, conversation_id),
                start,
                "-inf" if desc else "+inf",
                desc=desc,
                byscore=True,
                offset=0,
                num=limit + 1,
            )
        return _page(tuple(decode_item(item) for item in found[:limit]), more=len(found) > limit)

    async def item(self, user_id: str, conversation_id: str, item_id: str) -> Item:
        await read(self._redis, user_id, conversation_id)
        item: Item = decode_item(await self._stored(user_id, conversation_id, item_id))
        return item

    async def delete(self, user_id: str, conversation_id: str, item_id: str) -> Conversation:
        """What the conversation is without it."""
        conversation = await read(self._redis, user_id, conversation_id)
        stored = await self._stored(user_id, conversation_id, item_id)
        async with translated():
            removed: Any = await self._redis.zrem(items_key(user_id, conversation_id), stored)
        if not removed:
            raise _no_item()
        return conversation

    async def _stored(self, user_id: str, conversation_id: str, item_id: str) -> bytes:
        position = position_in(item_id)
        if position is None:
            raise _no_item()
        async with translated():
            found: Any = await self._redis.zrange(
                items_key(user_id, conversation_id), str(position), str(position), byscore=True
            )
        for stored in found:
            if decode_item(stored).id == item_id:
                return bytes(stored)
        raise _no_item()


def members(items: Sequence[Item]) -> dict[bytes, int]:
    """As they are kept: each at the position in its id."""
    return {encode_item(item): position_in(item.id) or 0 for item in items}


def _no_item() -> NotFound:
    return NotFound("item", param="item_id")


def _page(items: tuple[Item, ...], *, more: bool) -> Page[Item]:
    return Page(items, items[0].id if items else None, items[-1].id if items else None, more)
