"""The items of a conversation, as their owner adds, reads and deletes them one by one."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.errors import NotFound
from gateway.protocol.ids import is_output_of, position_in
from gateway.protocol.input_items import InputItem
from gateway.protocol.items import Item, decode_item, encode_item
from gateway.protocol.resources import Conversation, ItemPage, Order
from gateway.store.clock import RedisClock
from gateway.store.errors import translate_redis_errors
from gateway.store.history.item_ranges import ItemPages
from gateway.store.history.quota import StorageQuota, settle
from gateway.store.history.response_events import delete_events
from gateway.store.history.sizes import items_size
from gateway.store.history.stored_conversation import read_conversation
from gateway.store.history.transaction import transact
from gateway.store.keys import (
    index_key,
    items_key,
    responses_key,
    thread_key,
)
from gateway.turn.limits import check_item_limit
from gateway.turn.records import MAX_POSITION, Reservation, Run


class ConversationItems:
    """Every method raises Unavailable when Redis does not reply, and NotFound for another user's object as for an
    absent one."""

    def __init__(self, redis: Redis, quota: StorageQuota) -> None:
        self._redis = redis
        self._clock = RedisClock(redis)
        self._quota = quota

    async def create(self, user_id: str, conversation_id: str, items: Sequence[InputItem]) -> ItemPage:
        """Adds them at the end, adjacent even when a turn begins at the same moment. Raises StorageLimit."""
        await read_conversation(self._redis, user_id, conversation_id)
        async with translate_redis_errors():
            stored = await self._redis.zcard(items_key(user_id, conversation_id))
        check_item_limit(stored, len(items))
        size = items_size(item_members([item.at(0) for item in items]))
        async with self._quota.reserved(user_id, size) as reservation:
            added = await self._append(user_id, conversation_id, items, reservation)
        return ItemPage.of(added)

    async def _append(
        self, user_id: str, conversation_id: str, items: Sequence[InputItem], reservation: Reservation
    ) -> tuple[Item, ...]:
        async with translate_redis_errors():
            now = await self._clock.now_ms()

        def write(pipe: Any, found: list[Any]) -> tuple[Item, ...]:
            last = int(found[0] or 0)
            added = tuple(item.at(position) for position, item in enumerate(items, start=last + 1))
            pipe.hset(thread_key(user_id, conversation_id), "position", str(last + len(items)))
            members = item_members(added)
            pipe.zadd(items_key(user_id, conversation_id), members)
            settle(pipe, user_id, {conversation_id: items_size(members)}, reservation)
            pipe.zadd(index_key(user_id), {conversation_id: now})
            return added

        return await transact(self._redis, user_id, conversation_id, ["position"], write)

    async def page(
        self, user_id: str, conversation_id: str, *, limit: int, after: str | None, order: Order
    ) -> ItemPage:
        """By position, which is part of the id: an `after` that was deleted meanwhile still works. Fewer than `limit`
        where these are long."""
        await read_conversation(self._redis, user_id, conversation_id)
        position = None if after is None else position_in(after)
        if after is not None and position is None:
            raise NotFound("item", param="after")
        desc = order == "desc"
        first = 0 if desc or position is None else position + 1
        last = MAX_POSITION if not desc or position is None else position - 1
        pages = ItemPages(self._redis, user_id, (Run(conversation_id, MAX_POSITION),))
        await pages.read(first, last, limit + 1, desc=desc)
        if pages.is_end or len(pages.items) > limit:
            return ItemPage.of(tuple(pages.items[:limit]), has_more=len(pages.items) > limit)
        # The last of these long items proves that there are more.
        return ItemPage.of(tuple(pages.items[:-1] or pages.items), has_more=True)

    async def item(self, user_id: str, conversation_id: str, item_id: str) -> Item:
        await read_conversation(self._redis, user_id, conversation_id)
        item: Item = decode_item(await self._read_member(user_id, conversation_id, item_id))
        return item

    async def delete(self, user_id: str, conversation_id: str, item_id: str) -> Conversation:
        """Returns the conversation."""
        conversation = await read_conversation(self._redis, user_id, conversation_id)
        stored = await self._read_member(user_id, conversation_id, item_id)
        async with translate_redis_errors():
            removed: Any = await self._redis.zrem(items_key(user_id, conversation_id), stored)
        if not removed:
            raise _item_not_found()
        await self._quota.reduce(user_id, conversation_id, items_size([stored]))
        await self._delete_events(user_id, conversation_id, item_id)
        return conversation

    async def _delete_events(self, user_id: str, conversation_id: str, item_id: str) -> None:
        """Of the response that generated the item: they contain its text."""
        async with translate_redis_errors():
            found: Any = await self._redis.smembers(responses_key(user_id, conversation_id))
            response_id = next((one.decode() for one in found if is_output_of(one.decode(), item_id)), None)
        if response_id is not None:
            await delete_events(self._redis, self._quota, user_id, [response_id])

    async def _read_member(self, user_id: str, conversation_id: str, item_id: str) -> bytes:
        position = position_in(item_id)
        if position is None:
            raise _item_not_found()
        async with translate_redis_errors():
            found: Any = await self._redis.zrange(
                items_key(user_id, conversation_id), str(position), str(position), byscore=True
            )
        for stored in found:
            if decode_item(stored).id == item_id:
                return bytes(stored)
        raise _item_not_found()


def item_members(items: Sequence[Item]) -> dict[bytes, int]:
    """As members of the sorted set, each with the position in its id."""
    return {encode_item(item): position_in(item.id) or 0 for item in items}


def _item_not_found() -> NotFound:
    return NotFound("item", param="item_id")
