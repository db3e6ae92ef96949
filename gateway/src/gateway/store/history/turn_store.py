"""What a turn stores: the question and the running response when it is accepted, and the answer at its end."""

from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.errors import NotFound
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import is_conversation_id
from gateway.protocol.resources import encoded
from gateway.store.clock import RedisClock
from gateway.store.errors import translate_redis_errors
from gateway.store.history.conversation_items import item_members
from gateway.store.history.quota import StorageQuota, settle
from gateway.store.history.sizes import (
    IDEMPOTENCY_KEY,
    RESPONSE,
    RESPONSE_ENTRY,
    RUNNING_ANSWER,
    THREAD,
    TURN_CONTEXT,
    bytes_of,
    input_size,
    items_size,
    log_size,
)
from gateway.store.history.stored_conversation import active_field
from gateway.store.history.stored_path import encode_path
from gateway.store.history.watched_turn import StoredTurn, is_at_the_end, watch_acceptance, watch_response
from gateway.store.keys import (
    LOG_SUFFIX,
    idempotency_field,
    idempotency_key,
    index_key,
    items_key,
    response_key,
    responses_key,
    thread_key,
)
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import (
    ChainMovedOn,
    CommitRecord,
    CommitResult,
    Path,
    Reservation,
    TurnRecord,
    content_digest,
)

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

    async def reserve(self, user_id: str, create: ResponseCreate) -> Reservation:
        """Room for the turn, however little is known about it yet. Raises StorageLimit."""
        items, rest = create.items, encoded(msgspec.structs.replace(create, input=None))
        # Its input is stored twice while it runs; instructions occur in three places.
        size = 2 * input_size(encoded(items), len(items)) + 3 * bytes_of(rest)
        return await self._quota.reserve(user_id, size + THREAD + RESPONSE + TURN_CONTEXT + RUNNING_ANSWER)

    async def release(self, reservation: Reservation) -> None:
        """Nothing was accepted. Idempotent."""
        await self._quota.release(reservation)

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
            now = await self._clock.now_ms()
            while True:
                await watch_acceptance(pipe, record)
                if record.idempotency_key is not None:
                    earlier: Any = await pipe.get(idempotency_key(request.user_id, record.idempotency_key))
                    if earlier is not None:
                        return str(earlier.decode())
                if record.is_appended and not await is_at_the_end(pipe, record):
                    raise ChainMovedOn
                pipe.multi()  # type: ignore[no-untyped-call]
                self._add_turn(pipe, record, now)
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
            now = await self._clock.now_ms()
            while True:
                stored = await watch_response(pipe, key)
                if stored.owner != record.owner:
                    return CommitResult.DELETED if stored.owner is None else CommitResult.FENCED_OFF
                self._add_answer(pipe, record, stored, now)
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
            self._add_to_chain(pipe, record, last)
        pipe.hset(key, active_field(request.response_id), str(last))
        pipe.sadd(responses_key(user_id, thread_id), request.response_id)
        members = item_members(record.input)
        if members:
            pipe.zadd(items_key(user_id, thread_id), members, nx=True)
        self._keep(pipe, user_id, thread_id, record.path, now)
        sizes = self._add_response(pipe, record, last, items_size(members))
        if record.idempotency_key is not None:
            accepted = idempotency_key(user_id, record.idempotency_key)
            pipe.set(accepted, request.response_id, ex=_IDEMPOTENCY_SECONDS)
            sizes[idempotency_field(record.idempotency_key)] = IDEMPOTENCY_KEY
        if not is_conversation_id(thread_id) and not record.is_appended:
            sizes[thread_id] += THREAD + bytes_of(encode_path(record.path))
        settle(pipe, user_id, sizes, record.reservation)
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

    def _add_response(self, pipe: Any, record: TurnRecord, last: int, size: int) -> dict[str, int]:
        """Returns what is counted for it. Until it ends, its log is counted as one of an answer of usual length."""
        request = record.request
        key, response_id = response_key(request.user_id, request.response_id), request.response_id
        values = {"response": record.response, "request": request, "input": record.input}
        large = {name: encoded(value) for name, value in values.items()}
        first, digest = request.first_position - len(record.input), content_digest(record.input)
        place = {"thread": record.thread_id, "first": first, "last": last}
        reserved = RUNNING_ANSWER + bytes_of(large["input"])
        counted = {"size": size, "reserved": reserved}
        pipe.hset(key, mapping={**large, **place, **counted, "digest": digest, "owner": record.owner})
        pipe.expire(key, self._retention_seconds)
        return {
            record.thread_id: size + RESPONSE_ENTRY,
            response_id: RESPONSE + bytes_of(large["response"], large["request"]),
            response_id + LOG_SUFFIX: reserved,
        }

    def _add_answer(self, pipe: Any, record: CommitRecord, stored: StoredTurn, now: int) -> None:
        """An earlier version finds the items of a response that it has accepted in the response itself."""
        user_id, thread_id, response = record.user_id, record.thread_id, record.response
        thread, key = thread_key(user_id, thread_id), response_key(user_id, response.id)
        pipe.hdel(thread, active_field(response.id))
        if record.checkpoint is not None:
            pipe.hset(thread, "measured", encoded(record.checkpoint).decode())
        ended: Any = {"response": encoded(response)}
        if stored.has_range:
            ended = {"response": encoded(msgspec.structs.replace(response, output=())), "input": "[]"}
        pipe.hset(key, mapping=ended)
        pipe.expire(key, self._retention_seconds)
        members = item_members(response.output)
        if members:
            pipe.zadd(items_key(user_id, thread_id), members, nx=True)
        self._keep(pipe, user_id, thread_id, record.path, now)
        if stored.reserved is not None:  # else it was counted by an earlier attempt
            size, log = items_size(members), log_size(record.log_bytes) - stored.reserved
            pipe.hdel(key, "reserved")
            pipe.hincrby(key, "size", size)
            settle(pipe, user_id, {thread_id: size, response.id + LOG_SUFFIX: log})
        pipe.hexists(thread, "created_at")

    def _keep(self, pipe: Any, user_id: str, thread_id: str, path: Path, now: int) -> None:
        """A conversation moves to the top of its list. What a chain continues from expires no earlier than itself."""
        if is_conversation_id(thread_id):
            pipe.zadd(index_key(user_id), {thread_id: now})
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
        await self._quota.refund(user_id, [thread_id, response_id, response_id + LOG_SUFFIX])
