"""What a turn reads before it starts and leaves behind: the items of a conversation, or of a chain of responses."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.context.prompt import TokenCountCheckpoint
from gateway.errors import NotFound
from gateway.protocol.ids import is_conversation_id, position_in
from gateway.protocol.items import Item, decode_item, encode_item
from gateway.protocol.resources import Generation, encoded
from gateway.store.errors import translated
from gateway.store.history import leftovers, older_items
from gateway.store.history.keys import (
    accepted_key,
    active_field,
    index_key,
    items_key,
    now_ms,
    response_key,
    responses_key,
    thread_key,
)
from gateway.store.history.sizes import StorageQuota, charge
from gateway.turn.limits import RECENT_ITEMS, check_item_limit
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import CommitRecord, CommitResult, ThreadSnapshot, TurnRecord

# A client that has not asked again within a day has its answer.
_ONCE_SECONDS = 86_400
_decode_metadata = msgspec.json.Decoder(dict[str, str]).decode
_decode_generation = msgspec.json.Decoder(Generation).decode
_decode_measured = msgspec.json.Decoder(TokenCountCheckpoint).decode


class TurnStore:
    """Every method raises Unavailable when Redis does not answer."""

    def __init__(
        self,
        redis: Redis,
        *,
        retention_seconds: int,
        recent_items: int = RECENT_ITEMS,
        sizes: StorageQuota | None = None,
    ) -> None:
        self._redis = redis
        self._sizes = sizes or StorageQuota(redis)
        self._retention_seconds = retention_seconds
        self._recent_items = recent_items

    async def reserve(self, user_id: str, thread_id: str, count: int) -> ThreadSnapshot:
        """The newest items and `count` new positions, in two round trips at most. Raises NotFound or StorageLimit."""
        key = thread_key(user_id, thread_id)
        async with translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(key, ["created_at", "metadata", "generation", "measured"])
            pipe.zrange(items_key(user_id, thread_id), -self._recent_items, -1)
            pipe.zcard(items_key(user_id, thread_id))
            pipe.hincrby(key, "position", count)
            (created_at, metadata, generation, measured), items, total, last = await pipe.execute()
            if created_at is None:
                await self._redis.delete(key)
                raise NotFound("conversation", param="conversation")
        check_item_limit(total, 1 + max(0, count - MAX_OUTPUT_ITEMS))
        said = ThreadSnapshot(
            [decode_item(item) for item in items],
            last - count + 1,
            _decode_measured(measured) if measured else None,
            _decode_generation(generation or b"{}"),
            bool(_decode_metadata(metadata or b"{}").get("title")),
            max(0, total - len(items)),
        )
        return await self.load_head(user_id, thread_id, said)

    async def load_head(self, user_id: str, thread_id: str, said: ThreadSnapshot) -> ThreadSnapshot:
        """The same, and what the model was told before the older items. Once for each `said`."""
        head = (
            await older_items.head(self._redis, user_id, thread_id, below=said.first_position)
            if said.older_count
            else []
        )
        return replace(said, head=tuple(head), older_count=max(0, said.older_count - len(head)))

    async def load_older(self, user_id: str, thread_id: str, said: ThreadSnapshot, count: int) -> ThreadSnapshot:
        """The same, and `count` more of the older items."""
        more = await older_items.just_below(
            self._redis, user_id, thread_id, count, above=said.head, below=said.first_position
        )
        older = max(0, said.older_count - len(more)) if len(more) == count else 0
        return replace(said, items=[*more, *said.items], older_count=older)

    async def read(self, user_id: str, thread_id: str, last: int, *, since: int = 0) -> list[Item]:
        """All items from the position `since` up to the position `last`."""
        return await older_items.all_between(self._redis, user_id, thread_id, since, last)

    async def check_quota(self, user_id: str) -> None:
        """Raises StorageLimit where nothing more of this user's is kept."""
        await self._sizes.check(user_id)

    async def find_accepted(self, user_id: str, client_id: str) -> str | None:
        """The response that was accepted under a client's own id."""
        async with translated():
            found: Any = await self._redis.get(accepted_key(user_id, client_id))
        return None if found is None else str(found.decode())

    async def accept(self, record: TurnRecord) -> str:
        """Keeps what was asked and that an answer to it runs, all or nothing; doing it again changes nothing.

        Returns the id of the response: an earlier one's where `idempotency_key` was used before. Raises NotFound for a
        conversation that has just been deleted.
        """
        request = record.request
        async with translated(), self._redis.pipeline(transaction=True) as pipe:
            while True:
                if record.idempotency_key is not None:
                    earlier = await self._earlier(pipe, request.user_id, record.idempotency_key)
                    if earlier is not None:
                        return earlier
                self._accept(pipe, record)
                try:
                    there = (await pipe.execute())[-1]
                    break
                except WatchError:
                    continue  # the same was asked through another gateway at this moment
        if not there:
            await leftovers.delete(self._redis, request.user_id, record.thread_id, request.response_id)
            raise NotFound("conversation", param="conversation")
        return request.response_id

    async def _earlier(self, pipe: Any, user_id: str, client_id: str) -> str | None:
        key = accepted_key(user_id, client_id)
        await pipe.watch(key)
        found = await pipe.get(key)
        pipe.multi()
        return None if found is None else str(found.decode())

    def _accept(self, pipe: Any, record: TurnRecord) -> None:
        request, thread_id = record.request, record.thread_id
        user_id, last = request.user_id, request.first_position + MAX_OUTPUT_ITEMS - 1
        key, kept = thread_key(user_id, thread_id), response_key(user_id, request.response_id)
        if not is_conversation_id(thread_id):
            pipe.hsetnx(key, "created_at", str(request.created_at))
            pipe.hsetnx(key, "position", str(last))
        self._add(pipe, user_id, thread_id, [*record.copied, *record.input])
        pipe.hset(key, active_field(request.response_id), str(last))
        if record.idempotency_key is not None:
            pipe.set(accepted_key(user_id, record.idempotency_key), request.response_id, ex=_ONCE_SECONDS)
        told = {"response": record.response, "request": request, "input": record.input}
        large = {name: encoded(value) for name, value in told.items()}
        if is_conversation_id(thread_id):
            pipe.sadd(responses_key(user_id, thread_id), request.response_id)
        pipe.hset(kept, mapping={**large, "thread": thread_id, "last": last, "owner": record.owner})
        charge(pipe, user_id, kept, large.values())
        pipe.expire(kept, self._retention_seconds)
        pipe.hexists(key, "created_at")

    async def commit(self, record: CommitRecord) -> CommitResult:
        """Stores the answer, unless the turn was deleted or is owned by another gateway."""
        user_id, thread_id, response = record.user_id, record.thread_id, record.response
        key = response_key(user_id, response.id)
        async with translated(), self._redis.pipeline(transaction=True) as pipe:
            while True:
                owner = await self._owner(pipe, key)
                if owner != record.owner:
                    return CommitResult.DELETED if owner is None else CommitResult.FENCED_OFF
                self._commit(pipe, record)
                self._add(pipe, user_id, thread_id, response.output)
                pipe.hexists(thread_key(user_id, thread_id), "created_at")
                try:
                    exists = (await pipe.execute())[-1]
                    break
                except WatchError:
                    continue  # cancelled, or taken over, at this moment
        if not exists:
            await leftovers.delete(self._redis, user_id, thread_id, response.id)
        return CommitResult.COMMITTED if exists else CommitResult.DELETED

    def _commit(self, pipe: Any, record: CommitRecord) -> None:
        user_id, response = record.user_id, record.response
        key, kept = thread_key(user_id, record.thread_id), response_key(user_id, response.id)
        pipe.hdel(key, active_field(response.id))
        if record.checkpoint is not None:
            pipe.hset(key, "measured", encoded(record.checkpoint).decode())
        pipe.hset(kept, "response", encoded(response).decode())
        charge(pipe, user_id, kept, [encoded(response.output)])
        pipe.expire(kept, self._retention_seconds)

    async def _owner(self, pipe: Any, record: str) -> str | None:
        """None without a record: an accepted response has one until it is deleted."""
        await pipe.watch(record)
        found = await pipe.hget(record, "owner")
        pipe.multi()
        return None if found is None else str(found.decode())

    def _add(self, pipe: Any, user_id: str, thread_id: str, items: Sequence[Item]) -> None:
        key = items_key(user_id, thread_id)
        if items:
            members = {encode_item(item): position_in(item.id) or 0 for item in items}
            pipe.zadd(key, members, nx=True)
            charge(pipe, user_id, key, members)
        if is_conversation_id(thread_id):
            pipe.zadd(index_key(user_id), {thread_id: now_ms()})
        else:
            pipe.expire(key, self._retention_seconds)
            pipe.expire(thread_key(user_id, thread_id), self._retention_seconds)
