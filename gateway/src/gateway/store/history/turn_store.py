"""What a turn stores: the question and the running response when it is accepted, and the answer at its end."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.errors import NotFound
from gateway.protocol.ids import is_conversation_id
from gateway.protocol.items import Item
from gateway.protocol.resources import encoded
from gateway.store.clock import RedisClock
from gateway.store.errors import translate_redis_errors
from gateway.store.history.conversation_items import item_members
from gateway.store.history.quota import StorageQuota, charge
from gateway.store.history.stored_conversation import active_field
from gateway.store.keys import idempotency_key, index_key, items_key, response_key, responses_key, thread_key
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import CommitRecord, CommitResult, TurnRecord

# A client that has not repeated its request within a day has its answer.
_IDEMPOTENCY_SECONDS = 86_400


class TurnStore:
    """Every method raises Unavailable when Redis does not reply."""

    def __init__(self, redis: Redis, *, retention_seconds: int, quota: StorageQuota | None = None) -> None:
        """`retention_seconds`: how long a response is stored after its last change."""
        self._redis = redis
        self._clock = RedisClock(redis)
        self._retention_seconds = retention_seconds
        self._quota = quota or StorageQuota(redis)

    async def check_quota(self, user_id: str) -> None:
        """Raises StorageLimit when the user may not store anything more."""
        await self._quota.check(user_id)

    async def find_accepted(self, user_id: str, client_id: str) -> str | None:
        """The response that was accepted under a client's own id."""
        async with translate_redis_errors():
            found: Any = await self._redis.get(idempotency_key(user_id, client_id))
        return None if found is None else str(found.decode())

    async def accept(self, record: TurnRecord) -> str:
        """Stores the question and the running response, all or nothing; repeating it changes nothing.

        Returns the id of the response: an earlier one's where `idempotency_key` was used before. Raises NotFound for a
        conversation that has just been deleted.
        """
        request = record.request
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            now = await self._clock.now_ms()
            while True:
                if record.idempotency_key is not None:
                    earlier = await _watch_accepted(pipe, request.user_id, record.idempotency_key)
                    if earlier is not None:
                        return earlier
                self._add_turn(pipe, record, now)
                try:
                    exists = (await pipe.execute())[-1]
                    break
                except WatchError:
                    continue  # another gateway has just accepted the same request
        if not exists:
            await self._delete_orphans(request.user_id, record.thread_id, request.response_id)
            raise NotFound("conversation", param="conversation")
        return request.response_id

    async def commit(self, record: CommitRecord) -> CommitResult:
        """Stores the answer, unless the turn was deleted or is owned by another gateway."""
        key = response_key(record.user_id, record.response.id)
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            now = await self._clock.now_ms()
            while True:
                owner = await _watch_owner(pipe, key)
                if owner != record.owner:
                    return CommitResult.DELETED if owner is None else CommitResult.FENCED_OFF
                self._add_answer(pipe, record, now)
                try:
                    exists = (await pipe.execute())[-1]
                    break
                except WatchError:
                    continue  # just cancelled, or taken over
        if not exists:
            await self._delete_orphans(record.user_id, record.thread_id, record.response.id)
        return CommitResult.COMMITTED if exists else CommitResult.DELETED

    def _add_turn(self, pipe: Any, record: TurnRecord, now: int) -> None:
        request, thread_id = record.request, record.thread_id
        user_id, last = request.user_id, request.first_position + MAX_OUTPUT_ITEMS - 1
        key = thread_key(user_id, thread_id)
        if not is_conversation_id(thread_id):
            pipe.hsetnx(key, "created_at", str(request.created_at))
            pipe.hsetnx(key, "position", str(last))
        self._add_items(pipe, user_id, thread_id, [*record.copied, *record.input], now)
        pipe.hset(key, active_field(request.response_id), str(last))
        if record.idempotency_key is not None:
            accepted = idempotency_key(user_id, record.idempotency_key)
            pipe.set(accepted, request.response_id, ex=_IDEMPOTENCY_SECONDS)
        if is_conversation_id(thread_id):
            pipe.sadd(responses_key(user_id, thread_id), request.response_id)
        self._add_response(pipe, record, last)
        pipe.hexists(key, "created_at")

    def _add_response(self, pipe: Any, record: TurnRecord, last: int) -> None:
        request = record.request
        key = response_key(request.user_id, request.response_id)
        values = {"response": record.response, "request": request, "input": record.input}
        large = {name: encoded(value) for name, value in values.items()}
        pipe.hset(key, mapping={**large, "thread": record.thread_id, "last": last, "owner": record.owner})
        charge(pipe, request.user_id, key, large.values())
        pipe.expire(key, self._retention_seconds)

    def _add_answer(self, pipe: Any, record: CommitRecord, now: int) -> None:
        user_id, thread_id, response = record.user_id, record.thread_id, record.response
        thread, key = thread_key(user_id, thread_id), response_key(user_id, response.id)
        pipe.hdel(thread, active_field(response.id))
        if record.checkpoint is not None:
            pipe.hset(thread, "measured", encoded(record.checkpoint).decode())
        pipe.hset(key, "response", encoded(response).decode())
        charge(pipe, user_id, key, [encoded(response.output)])
        pipe.expire(key, self._retention_seconds)
        self._add_items(pipe, user_id, thread_id, response.output, now)
        pipe.hexists(thread, "created_at")

    def _add_items(self, pipe: Any, user_id: str, thread_id: str, items: Sequence[Item], now: int) -> None:
        key = items_key(user_id, thread_id)
        if items:
            members = item_members(items)
            pipe.zadd(key, members, nx=True)
            charge(pipe, user_id, key, members)
        if is_conversation_id(thread_id):
            pipe.zadd(index_key(user_id), {thread_id: now})
        else:
            pipe.expire(key, self._retention_seconds)
            pipe.expire(thread_key(user_id, thread_id), self._retention_seconds)

    async def _delete_orphans(self, user_id: str, thread_id: str, response_id: str) -> None:
        """What a turn has added to a conversation that had just been deleted. Its events expire by themselves, after
        their end."""
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(thread_key(user_id, thread_id), items_key(user_id, thread_id))
            pipe.delete(responses_key(user_id, thread_id))
            pipe.delete(response_key(user_id, response_id))
            pipe.zrem(index_key(user_id), thread_id)
            await pipe.execute()


async def _watch_accepted(pipe: Any, user_id: str, client_id: str) -> str | None:
    """The response accepted under the client's id."""
    key = idempotency_key(user_id, client_id)
    await pipe.watch(key)
    found = await pipe.get(key)
    pipe.multi()
    return None if found is None else str(found.decode())


async def _watch_owner(pipe: Any, key: str) -> str | None:
    """None without a record: an accepted response has one until it is deleted."""
    await pipe.watch(key)
    found = await pipe.hget(key, "owner")
    pipe.multi()
    return None if found is None else str(found.decode())
