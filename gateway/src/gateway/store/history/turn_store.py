"""What a turn stores: the question and the running response when it is accepted, and the answer at its end."""

from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.errors import NotFound
from gateway.protocol.ids import is_conversation_id
from gateway.protocol.items import Item
from gateway.protocol.resources import encoded
from gateway.store.errors import translate_redis_errors
from gateway.store.history.conversation_items import item_members
from gateway.store.history.quota import StorageQuota, charge
from gateway.store.history.stored_conversation import active_field, now_ms
from gateway.store.history.stored_path import encode_path
from gateway.store.keys import idempotency_key, index_key, items_key, response_key, responses_key, thread_key
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import ChainMovedOn, CommitRecord, CommitResult, Path, TurnRecord, content_digest

# A client that has not repeated its request within a day has its answer.
_IDEMPOTENCY_SECONDS = 86_400


class TurnStore:
    """Every method raises Unavailable when Redis does not reply."""

    def __init__(self, redis: Redis, *, retention_seconds: int, quota: StorageQuota | None = None) -> None:
        """`retention_seconds`: how long a response is stored after its last change."""
        self._redis = redis
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

        Returns the id of the response: an earlier one's where `idempotency_key` was used before. Raises ChainMovedOn,
        or NotFound for a conversation that has just been deleted.
        """
        request = record.request
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            while True:
                await _watch(pipe, record)
                if record.idempotency_key is not None:
                    earlier: Any = await pipe.get(idempotency_key(request.user_id, record.idempotency_key))
                    if earlier is not None:
                        return str(earlier.decode())
                if record.is_appended and not await _is_at_the_end(pipe, record):
                    raise ChainMovedOn
                pipe.multi()  # type: ignore[no-untyped-call]
                self._add_turn(pipe, record)
                try:
                    exists = (await pipe.execute())[-1]
                    break
                except WatchError:
                    continue  # another gateway has just accepted the same request, or one in the same chain
        if not exists:
            await self._delete_orphans(request.user_id, record.thread_id, request.response_id)
            raise NotFound("conversation", param="conversation")
        return request.response_id

    async def commit(self, record: CommitRecord) -> CommitResult:
        """Stores the answer, unless the turn was deleted or is owned by another gateway."""
        key = response_key(record.user_id, record.response.id)
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            while True:
                owner, has_range = await _watch_response(pipe, key)
                if owner != record.owner:
                    return CommitResult.DELETED if owner is None else CommitResult.FENCED_OFF
                self._add_answer(pipe, record, has_range=has_range)
                try:
                    exists = (await pipe.execute())[-1]
                    break
                except WatchError:
                    continue  # just cancelled, or taken over
        if not exists:
            await self._delete_orphans(record.user_id, record.thread_id, record.response.id)
        return CommitResult.COMMITTED if exists else CommitResult.DELETED

    def _add_turn(self, pipe: Any, record: TurnRecord) -> None:
        request, thread_id = record.request, record.thread_id
        user_id, last = request.user_id, request.first_position + MAX_OUTPUT_ITEMS - 1
        key = thread_key(user_id, thread_id)
        if not is_conversation_id(thread_id):
            self._add_to_chain(pipe, record, last)
        pipe.hset(key, active_field(request.response_id), str(last))
        pipe.sadd(responses_key(user_id, thread_id), request.response_id)
        self._add_items(pipe, user_id, thread_id, record.input)
        self._keep(pipe, user_id, thread_id, record.path)
        if record.idempotency_key is not None:
            accepted = idempotency_key(user_id, record.idempotency_key)
            pipe.set(accepted, request.response_id, ex=_IDEMPOTENCY_SECONDS)
        self._add_response(pipe, record, last)
        pipe.hexists(key, "created_at")

    def _add_to_chain(self, pipe: Any, record: TurnRecord, last: int) -> None:
        key = thread_key(record.request.user_id, record.thread_id)
        if record.is_appended:
            pipe.hset(key, "position", str(last))
            return
        pipe.hsetnx(key, "created_at", str(record.request.created_at))
        pipe.hsetnx(key, "position", str(last))
        if record.path:
            pipe.hsetnx(key, "ancestry", encode_path(record.path).decode())

    def _add_response(self, pipe: Any, record: TurnRecord, last: int) -> None:
        request = record.request
        key = response_key(request.user_id, request.response_id)
        values = {"response": record.response, "request": request, "input": record.input}
        large = {name: encoded(value) for name, value in values.items()}
        first, digest = request.first_position - len(record.input), content_digest(record.input)
        place = {"thread": record.thread_id, "first": first, "last": last}
        pipe.hset(key, mapping={**large, **place, "digest": digest, "owner": record.owner})
        charge(pipe, request.user_id, key, large.values())
        pipe.expire(key, self._retention_seconds)

    def _add_answer(self, pipe: Any, record: CommitRecord, *, has_range: bool) -> None:
        """An earlier version finds the items of a response that it has accepted in the response itself."""
        user_id, thread_id, response = record.user_id, record.thread_id, record.response
        thread, key = thread_key(user_id, thread_id), response_key(user_id, response.id)
        pipe.hdel(thread, active_field(response.id))
        if record.checkpoint is not None:
            pipe.hset(thread, "measured", encoded(record.checkpoint).decode())
        ended: Any = {"response": encoded(response)}
        if has_range:
            ended = {"response": encoded(msgspec.structs.replace(response, output=())), "input": "[]"}
        pipe.hset(key, mapping=ended)
        charge(pipe, user_id, key, [encoded(response.output)])
        pipe.expire(key, self._retention_seconds)
        self._add_items(pipe, user_id, thread_id, response.output)
        self._keep(pipe, user_id, thread_id, record.path)
        pipe.hexists(thread, "created_at")

    def _add_items(self, pipe: Any, user_id: str, thread_id: str, items: Sequence[Item]) -> None:
        key = items_key(user_id, thread_id)
        if items:
            members = item_members(items)
            pipe.zadd(key, members, nx=True)
            charge(pipe, user_id, key, members)

    def _keep(self, pipe: Any, user_id: str, thread_id: str, path: Path) -> None:
        """A conversation moves to the top of its list. What a chain continues from expires no earlier than itself."""
        if is_conversation_id(thread_id):
            pipe.zadd(index_key(user_id), {thread_id: now_ms()})
            return
        own = thread_key(user_id, thread_id), items_key(user_id, thread_id), responses_key(user_id, thread_id)
        before = [items_key(user_id, run.thread_id) for run in path if not is_conversation_id(run.thread_id)]
        for key in dict.fromkeys((*own, *before)):
            pipe.expire(key, self._retention_seconds)

    async def _delete_orphans(self, user_id: str, thread_id: str, response_id: str) -> None:
        """What a turn has added to a conversation that had just been deleted. Its events expire by themselves, after
        their end."""
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(thread_key(user_id, thread_id), items_key(user_id, thread_id))
            pipe.delete(responses_key(user_id, thread_id))
            pipe.delete(response_key(user_id, response_id))
            pipe.zrem(index_key(user_id), thread_id)
            await pipe.execute()


async def _watch(pipe: Any, record: TurnRecord) -> None:
    """What another gateway may change while this one decides."""
    user_id, keys = record.request.user_id, []
    if record.idempotency_key is not None:
        keys.append(idempotency_key(user_id, record.idempotency_key))
    if record.is_appended:
        keys.append(thread_key(user_id, record.thread_id))
    if keys:
        await pipe.watch(*keys)


async def _is_at_the_end(pipe: Any, record: TurnRecord) -> bool:
    """Whether nothing was added to the chain after the response that this one continues from."""
    request = record.request
    key = thread_key(request.user_id, record.thread_id)
    position, accepted = await pipe.hmget(key, ("position", active_field(request.response_id)))
    return accepted is not None or (position is not None and int(position) == record.path[-1].last)


async def _watch_response(pipe: Any, key: str) -> tuple[str | None, bool]:
    """The owner, None once the response is deleted; and whether its items are found by their positions."""
    await pipe.watch(key)
    owner, first = await pipe.hmget(key, ("owner", "first"))
    pipe.multi()
    return None if owner is None else str(owner.decode()), first is not None
