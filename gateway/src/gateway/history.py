"""Conversations in Redis. All keys of a user share a hash tag, so that Redis Cluster keeps them together.

    parley:{USER}:conversations             sorted set: conversation id by last activity (Unix milliseconds)
    parley:{USER}:conversation:ID           hash: created_at, metadata (JSON), position (the last one given out)
    parley:{USER}:conversation:ID:items     sorted set: item (JSON) by position

A turn reserves the positions of its messages and of its answer together, so a question and its answer stand side by
side also when two tabs ask at once. Adding an item again changes nothing: a retry can not double it.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import dropwhile
from typing import Literal, TypeVar, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import NotFound, Unavailable
from gateway.protocol.ids import is_conversation_id, new_conversation_id, position_in
from gateway.protocol.resources import Conversation, Message, Page

# No context holds more messages than this, and a conversation may go on for years.
RECENT_ITEMS = 400

Order = Literal["asc", "desc"]
T = TypeVar("T", Conversation, Message)

_encode = msgspec.json.Encoder().encode
_decode_item = msgspec.json.Decoder(Message).decode
_decode_metadata = msgspec.json.Decoder(dict[str, str]).decode


class History:
    """Every method raises Unavailable when Redis does not answer."""

    def __init__(self, redis: Redis, *, recent_items: int = RECENT_ITEMS) -> None:
        self._redis = redis
        self._recent_items = recent_items

    async def create(self, user_id: str, metadata: dict[str, str]) -> Conversation:
        conversation = Conversation(new_conversation_id(), int(time.time()), metadata)
        await self.ensure(user_id, conversation)
        return conversation

    async def ensure(self, user_id: str, conversation: Conversation) -> None:
        """Makes the conversation unless it is there already."""
        key = _conversation_key(user_id, conversation.id)
        async with _translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.hsetnx(key, "created_at", str(conversation.created_at))
            pipe.hsetnx(key, "metadata", _encode(conversation.metadata).decode())
            pipe.zadd(_index_key(user_id), {conversation.id: _now_ms()}, nx=True)
            await pipe.execute()

    async def reserve(self, user_id: str, conversation_id: str, count: int) -> tuple[list[Message], int]:
        """The most recent items in order, and the first of `count` new positions, in one round trip.

        Raises NotFound.
        """
        if not is_conversation_id(conversation_id):
            raise NotFound("conversation", param="conversation")
        key = _conversation_key(user_id, conversation_id)
        async with _translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hexists(key, "created_at")
            pipe.zrange(_items_key(user_id, conversation_id), -self._recent_items, -1)
            pipe.hincrby(key, "position", count)
            exists, items, last = await pipe.execute()
            if not exists:
                await self._redis.delete(key)
        if not exists:
            raise NotFound("conversation", param="conversation")
        recent = [_decode_item(item) for item in items]
        if len(recent) == self._recent_items:  # not an answer without its question
            recent = list(dropwhile(lambda item: item.role != "user", recent))
        return recent, last - count + 1

    async def append(self, user_id: str, conversation_id: str, items: Sequence[Message]) -> None:
        """Each item goes to the position in its id."""
        members = {_encode(item): position_in(item.id) or 0 for item in items}
        async with _translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.zadd(_items_key(user_id, conversation_id), members, nx=True)
            pipe.zadd(_index_key(user_id), {conversation_id: _now_ms()})
            await pipe.execute()

    async def conversation(self, user_id: str, conversation_id: str) -> Conversation:
        """Raises NotFound."""
        if is_conversation_id(conversation_id):
            for found in await self._read(user_id, [conversation_id]):
                return found
        raise NotFound("conversation", param="conversation_id")

    async def conversations(self, user_id: str, *, limit: int, after: str | None, order: Order) -> Page[Conversation]:
        """By last activity; `desc` is the newest first. Raises NotFound for an unknown `after`."""
        key, desc = _index_key(user_id), order == "desc"
        start = 0
        async with _translated():
            if after is not None:
                if not is_conversation_id(after):
                    raise NotFound("conversation", param="after")
                rank = await (self._redis.zrevrank(key, after) if desc else self._redis.zrank(key, after))
                if not isinstance(rank, int):
                    raise NotFound("conversation", param="after")
                start = rank + 1
            ids = cast("list[bytes]", await self._redis.zrange(key, start, start + limit, desc=desc))
        found = await self._read(user_id, [one.decode() for one in ids[:limit]])
        return _page(tuple(found), more=len(ids) > limit)

    async def items(
        self, user_id: str, conversation_id: str, *, limit: int, after: str | None, order: Order
    ) -> Page[Message]:
        """By position. Raises NotFound for an unknown conversation or `after`."""
        await self.conversation(user_id, conversation_id)
        position = None if after is None else position_in(after)
        if after is not None and position is None:
            raise NotFound("item", param="after")
        key, desc = _items_key(user_id, conversation_id), order == "desc"
        bound = ("+inf" if desc else "-inf") if position is None else f"({position}"
        async with _translated():
            found = await self._redis.zrange(
                key, bound, "-inf" if desc else "+inf", desc=desc, byscore=True, offset=0, num=limit + 1
            )
        items = cast("list[bytes]", found)
        return _page(tuple(_decode_item(item) for item in items[:limit]), more=len(items) > limit)

    async def ping(self) -> None:
        async with _translated():
            await self._redis.ping()

    async def _read(self, user_id: str, ids: Sequence[str]) -> list[Conversation]:
        async with _translated(), self._redis.pipeline(transaction=False) as pipe:
            for conversation_id in ids:
                pipe.hmget(_conversation_key(user_id, conversation_id), ["created_at", "metadata"])
            rows = await pipe.execute() if ids else []
        return [
            Conversation(conversation_id, int(created_at), _decode_metadata(metadata))
            for conversation_id, (created_at, metadata) in zip(ids, rows, strict=True)
            if created_at is not None
        ]


def _index_key(user_id: str) -> str:
    return f"parley:{{{user_id}}}:conversations"


def _conversation_key(user_id: str, conversation_id: str) -> str:
    return f"parley:{{{user_id}}}:conversation:{conversation_id}"


def _items_key(user_id: str, conversation_id: str) -> str:
    return _conversation_key(user_id, conversation_id) + ":items"


def _now_ms() -> int:
    return int(time.time() * 1000)


def _page(data: tuple[T, ...], *, more: bool) -> Page[T]:
    return Page(data, data[0].id if data else None, data[-1].id if data else None, more)


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except RedisError as exc:
        raise Unavailable("redis") from exc
