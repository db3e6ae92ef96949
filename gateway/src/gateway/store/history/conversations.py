"""The conversations of a user: made, read, changed, deleted."""

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.errors import StorageLimit
from gateway.protocol.ids import new_conversation_id
from gateway.protocol.input_items import InputItem
from gateway.protocol.resources import Conversation, Generation, encoded
from gateway.store.errors import translated
from gateway.store.history.conversation_index import ConversationIndex
from gateway.store.history.conversation_items import ConversationItems, members
from gateway.store.history.keys import (
    index_key,
    items_key,
    log_keys,
    now_ms,
    response_key,
    responses_key,
    thread_key,
)
from gateway.store.history.reading import active_responses, checked_key, decode_metadata, no_conversation, read
from gateway.store.history.sizes import StorageQuota, charge
from gateway.store.history.transaction import transact

# More than anybody finds his way in, and a bound on what one user takes from the others.
MAX_CONVERSATIONS = 10_000
# OpenAI's own limit.
_PAIRS_AT_MOST = 16

_NO_GENERATION = Generation()


class Conversations:
    """Every method raises Unavailable when Redis does not answer. NotFound is for a conversation that is somebody
    else's as for one that is not there."""

    def __init__(self, redis: Redis, sizes: StorageQuota | None = None) -> None:
        self._redis = redis
        self._sizes = sizes or StorageQuota(redis)
        self.index = ConversationIndex(redis)
        self.items = ConversationItems(redis, self._sizes)

    async def create(
        self,
        user_id: str,
        metadata: Mapping[str, str],
        *,
        generation: Generation = _NO_GENERATION,
        items: Sequence[InputItem] = (),
    ) -> Conversation:
        async with translated():
            if await self._redis.zcard(index_key(user_id)) >= MAX_CONVERSATIONS:
                raise StorageLimit("conversations", MAX_CONVERSATIONS, "delete some of them")
        await self._sizes.check(user_id)
        now, new = now_ms(), new_conversation_id()
        first = [item.at(position) for position, item in enumerate(items, start=1)]
        kept = members(first)
        fields = _fields(metadata, generation) | {"created_at": str(now // 1000), "position": str(len(first))}
        async with translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(thread_key(user_id, new), mapping=fields)
            if first:
                pipe.zadd(items_key(user_id, new), kept)
                charge(pipe, user_id, items_key(user_id, new), kept)
            pipe.zadd(index_key(user_id), {new: now})
            await pipe.execute()
        return Conversation(new, now // 1000, dict(metadata), generation=generation, last_active_at=now // 1000)

    async def ensure(self, user_id: str, conversation: Conversation) -> None:
        """Makes the conversation unless it is there already."""
        key = checked_key(user_id, conversation.id)
        async with translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.hsetnx(key, "created_at", str(conversation.created_at))
            for name, value in _fields(conversation.metadata, conversation.generation).items():
                pipe.hsetnx(key, name, value)
            pipe.zadd(index_key(user_id), {conversation.id: now_ms()}, nx=True)
            await pipe.execute()

    async def conversation(self, user_id: str, conversation_id: str) -> Conversation:
        """Raises NotFound."""
        return await read(self._redis, user_id, conversation_id)

    async def update(
        self,
        user_id: str,
        conversation_id: str,
        *,
        metadata: Mapping[str, str] | None = None,
        generation: Generation | None = None,
    ) -> Conversation:
        """Each is replaced as a whole, or stays as it is where None; that is no activity. Raises NotFound."""
        key, fields = thread_key(user_id, conversation_id), _fields(metadata, generation)

        def write(pipe: Any, _: list[Any]) -> None:
            if fields:
                pipe.hset(key, mapping=fields)

        await transact(self._redis, user_id, conversation_id, (), write)
        return await read(self._redis, user_id, conversation_id)

    async def retitle(self, user_id: str, conversation_id: str, title: str, *, instead_of: str) -> bool:
        """Only where the title is still `instead_of`, empty for none; says whether it was. Raises NotFound."""
        key = thread_key(user_id, conversation_id)

        def write(pipe: Any, found: list[Any]) -> bool:
            metadata = decode_metadata(found[0] or b"{}")
            changed = {**metadata, "title": title}
            fits = metadata.get("title", "") == instead_of and len(changed) <= _PAIRS_AT_MOST
            if fits:
                pipe.hset(key, mapping=_fields(changed))
            return fits

        return await transact(self._redis, user_id, conversation_id, ["metadata"], write)

    async def delete(self, user_id: str, conversation_id: str) -> tuple[str, ...]:
        """With its items and its responses. The ids of the responses that still run in it: theirs to be stopped.

        Raises NotFound.
        """
        key, responses = checked_key(user_id, conversation_id), responses_key(user_id, conversation_id)
        # Not in a transaction: a full Redis refuses even to delete in one.
        async with translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(key)
            pipe.smembers(responses)
            pipe.delete(key, items_key(user_id, conversation_id), responses)
            pipe.zrem(index_key(user_id), conversation_id)
            fields, made, *_ = await pipe.execute()
        if b"created_at" not in fields:
            raise no_conversation()
        running = active_responses(fields)
        ended = sorted({one.decode() for one in made} - set(running))
        await self._forget(user_id, ended)
        gone = (items_key(user_id, conversation_id), *(response_key(user_id, one) for one in ended))
        await self._sizes.forget(user_id, gone)
        return running

    async def _forget(self, user_id: str, response_ids: Sequence[str]) -> None:
        """A running one is forgotten at its end: by then there is nothing to keep it in."""
        async with translated(), self._redis.pipeline(transaction=False) as pipe:
            for response_id in response_ids:
                pipe.hget(response_key(user_id, response_id), "segment")
            segments = await pipe.execute() if response_ids else []
            for response_id, segment in zip(response_ids, segments, strict=True):
                pipe.delete(response_key(user_id, response_id), *log_keys(user_id, response_id, int(segment or 0)))
            await pipe.execute()


def _fields(metadata: Mapping[str, str] | None, generation: Generation | None = None) -> dict[Any, Any]:
    given = {"metadata": metadata, "generation": generation}
    return {name: encoded(value).decode() for name, value in given.items() if value is not None}
