"""The conversations of a user: creates, reads, changes and deletes them."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.errors import StorageLimit
from gateway.protocol.ids import new_conversation_id
from gateway.protocol.input_items import InputItem
from gateway.protocol.resources import Conversation, Generation, encoded
from gateway.store.clock import RedisClock
from gateway.store.errors import translate_redis_errors
from gateway.store.history.conversation_index import ConversationIndex
from gateway.store.history.conversation_items import ConversationItems, item_members
from gateway.store.history.quota import StorageQuota, settle
from gateway.store.history.response_events import delete_events
from gateway.store.history.sizes import THREAD, bytes_of, items_size
from gateway.store.history.stored_conversation import (
    active_responses,
    conversation_key,
    conversation_not_found,
    decode_metadata,
    read_conversation,
)
from gateway.store.history.transaction import transact
from gateway.store.keys import (
    index_key,
    items_key,
    response_key,
    responses_key,
    thread_key,
)

# More than anybody can find anything in, and a bound on what one user takes from the others.
MAX_CONVERSATIONS = 10_000
# A command takes the client about 20 us of the event loop.
_DELETED_AT_ONCE = 200
# OpenAI's own limit.
_MAX_METADATA_PAIRS = 16

_NO_GENERATION = Generation()


class Conversations:
    """Every method raises Unavailable when Redis does not reply, and NotFound for another user's conversation as for
    an absent one."""

    def __init__(self, redis: Redis, quota: StorageQuota | None = None) -> None:
        self._redis = redis
        self._clock = RedisClock(redis)
        self._quota = quota or StorageQuota(redis)
        self.index = ConversationIndex(redis)
        self.items = ConversationItems(redis, self._quota)

    async def create(
        self,
        user_id: str,
        metadata: Mapping[str, str],
        *,
        generation: Generation = _NO_GENERATION,
        items: Sequence[InputItem] = (),
    ) -> Conversation:
        async with translate_redis_errors():
            if await self._redis.zcard(index_key(user_id)) >= MAX_CONVERSATIONS:
                raise StorageLimit("conversations", MAX_CONVERSATIONS, "delete some of them")
        new = new_conversation_id()
        first = [item.at(position) for position, item in enumerate(items, start=1)]
        members = item_members(first)
        texts = _fields(metadata, generation)
        size = THREAD + bytes_of(*texts.values()) + items_size(members)
        async with (
            self._quota.reserved(user_id, size) as reservation,
            translate_redis_errors(),
            self._redis.pipeline(transaction=True) as pipe,
        ):
            now = await self._clock.now_ms()
            fields: Any = {**texts, "created_at": now // 1000, "position": len(first)}
            pipe.hset(thread_key(user_id, new), mapping=fields)
            if first:
                pipe.zadd(items_key(user_id, new), members)
            pipe.zadd(index_key(user_id), {new: now})
            settle(pipe, user_id, {new: size}, reservation)
            await pipe.execute()
        return Conversation(new, now // 1000, dict(metadata), generation=generation, last_active_at=now // 1000)

    async def ensure(self, user_id: str, conversation: Conversation) -> None:
        """Creates the conversation unless it exists."""
        key = conversation_key(user_id, conversation.id)
        fields: Any = {**_fields(conversation.metadata, conversation.generation), "created_at": conversation.created_at}
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(key)
            if await pipe.hexists(key, "created_at"):
                return
            now = await self._clock.now_ms()
            async with self._quota.reserved(user_id, THREAD) as reservation:
                pipe.multi()  # type: ignore[no-untyped-call]
                pipe.hset(key, mapping=fields)
                pipe.zadd(index_key(user_id), {conversation.id: now}, nx=True)
                settle(pipe, user_id, {conversation.id: THREAD}, reservation)
                try:
                    await pipe.execute()
                except WatchError:  # another request has just created it
                    await self._quota.release(reservation)

    async def conversation(self, user_id: str, conversation_id: str) -> Conversation:
        """Raises NotFound."""
        return await read_conversation(self._redis, user_id, conversation_id)

    async def update(
        self,
        user_id: str,
        conversation_id: str,
        *,
        metadata: Mapping[str, str] | None = None,
        generation: Generation | None = None,
    ) -> Conversation:
        """Replaces each as a whole, unless it is None; this does not count as activity. Raises NotFound or
        StorageLimit."""
        fields = _fields(metadata, generation)
        while fields and not await self._replace(user_id, conversation_id, fields):
            pass  # what it replaces has just become smaller
        return await read_conversation(self._redis, user_id, conversation_id)

    async def _replace(self, user_id: str, conversation_id: str, fields: Mapping[str, bytes]) -> bool:
        """Whether there was room for it. An update that needs no more room is never refused."""
        key = conversation_key(user_id, conversation_id)
        async with translate_redis_errors():
            created_at, *before = await cast("Any", self._redis.hmget(key, ["created_at", *fields]))
        if created_at is None:
            raise conversation_not_found()
        growth = max(0, bytes_of(*fields.values()) - bytes_of(*filter(None, before)))

        def write(pipe: Any, found: list[Any]) -> bool:
            size = bytes_of(*fields.values()) - bytes_of(*filter(None, found))
            if size <= growth:
                pipe.hset(key, mapping=fields)
                settle(pipe, user_id, {conversation_id: size}, reservation)
            return size <= growth

        async with self._quota.reserved(user_id, growth) as reservation:
            is_written = await transact(self._redis, user_id, conversation_id, list(fields), write)
            if not is_written:
                await self._quota.release(reservation)
        return is_written

    async def retitle(self, user_id: str, conversation_id: str, title: str, *, instead_of: str) -> bool:
        """Only if the title is still `instead_of` (empty for no title); returns whether it was. Raises NotFound."""
        key = thread_key(user_id, conversation_id)

        def write(pipe: Any, found: list[Any]) -> bool:
            metadata = decode_metadata(found[0] or b"{}")
            changed = {**metadata, "title": title}
            is_allowed = metadata.get("title", "") == instead_of and len(changed) <= _MAX_METADATA_PAIRS
            if is_allowed:
                pipe.hset(key, mapping=_fields(changed))
                size = bytes_of(encoded(changed)) - bytes_of(found[0] or b"")
                settle(pipe, user_id, {conversation_id: size})
            return is_allowed

        return await transact(self._redis, user_id, conversation_id, ["metadata"], write)

    async def delete(self, user_id: str, conversation_id: str) -> tuple[str, ...]:
        """With its items and its responses. Returns the ids of the responses that still run, for the caller to stop.

        Raises NotFound.
        """
        key, responses = conversation_key(user_id, conversation_id), responses_key(user_id, conversation_id)
        # Not in a transaction: a full Redis refuses even to delete in one.
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(key)
            pipe.smembers(responses)
            pipe.delete(key, items_key(user_id, conversation_id), responses)
            pipe.zrem(index_key(user_id), conversation_id)
            fields, response_ids, *_ = await pipe.execute()
        if b"created_at" not in fields:
            raise conversation_not_found()
        running = active_responses(fields)
        ended = sorted({one.decode() for one in response_ids} - set(running))
        await self._quota.refund(user_id, [conversation_id])
        await self._delete_responses(user_id, ended)
        return running

    async def _delete_responses(self, user_id: str, response_ids: Sequence[str]) -> None:
        """A running one is deleted at its end, when it finds no conversation to store its answer in."""
        for start in range(0, len(response_ids), _DELETED_AT_ONCE):
            some = response_ids[start : start + _DELETED_AT_ONCE]
            await delete_events(self._redis, self._quota, user_id, some)
            async with translate_redis_errors():
                await self._redis.delete(*(response_key(user_id, response_id) for response_id in some))
            await self._quota.refund(user_id, some)


def _fields(metadata: Mapping[str, str] | None, generation: Generation | None = None) -> dict[Any, bytes]:
    given = {"metadata": metadata, "generation": generation}
    return {name: encoded(value) for name, value in given.items() if value is not None}
