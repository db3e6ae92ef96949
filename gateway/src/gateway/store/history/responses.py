"""Stored responses: the resource of each answer, its input, and where its items are."""

from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.errors import NotFound
from gateway.protocol.ids import is_conversation_id, is_response_id, position_in
from gateway.protocol.items import Item
from gateway.protocol.resources import decode_response
from gateway.store.clock import redis_now_ms
from gateway.store.errors import translate_redis_errors
from gateway.store.history.quota import StorageQuota
from gateway.store.keys import items_key, response_key, segment_keys
from gateway.turn.records import CancelRequest, InterruptedTurn, StoredResponse
from gateway.turn.turn_request import TurnRequest

_decode_request = msgspec.json.Decoder(TurnRequest).decode
_decode_items = msgspec.json.Decoder(tuple[Item, ...]).decode
_FIELDS = ("response", "input", "thread", "last", "owner", "segment")


class ResponseStore:
    """Every method raises Unavailable when Redis does not reply."""

    def __init__(self, redis: Redis, quota: StorageQuota | None = None) -> None:
        self._redis = redis
        self._quota = quota or StorageQuota(redis)

    async def get(self, user_id: str, response_id: str) -> StoredResponse:
        """Raises NotFound, for another user's id as for an absent one."""
        if not is_response_id(response_id):
            raise NotFound("response", param="response_id")
        async with translate_redis_errors():
            found: Any = await self._redis.hmget(response_key(user_id, response_id), _FIELDS)
        response, input_items, thread, last, owner, segment = found
        if response is None:
            raise NotFound("response", param="response_id")
        return StoredResponse(
            decode_response(response),
            _decode_items(input_items),
            thread_id=thread.decode(),
            last_position=int(last),
            owner=owner.decode(),
            segment=int(segment or 0),
        )

    async def interrupted(self, user_id: str, response_id: str) -> InterruptedTurn:
        """What another gateway needs to continue the turn. Raises NotFound."""
        stored = await self.get(user_id, response_id)
        async with translate_redis_errors():
            found: Any = await self._redis.hmget(response_key(user_id, response_id), ("request", "cancel"))
            request, cancel = found
            ago = None if cancel is None else max(0, await redis_now_ms(self._redis) - int(cancel))
        if request is None:
            raise NotFound("response", param="response_id")
        return InterruptedTurn(_decode_request(request), stored, ago)

    async def owner(self, user_id: str, response_id: str) -> tuple[str, int]:
        """The gateway that claimed the turn last, and the segment it writes to. Raises NotFound."""
        async with translate_redis_errors():
            found: Any = await self._redis.hmget(response_key(user_id, response_id), ("owner", "segment"))
        if found[0] is None:
            raise NotFound("response", param="response_id")
        return found[0].decode(), int(found[1] or 0)

    async def claim(self, user_id: str, response_id: str, gateway_id: str, segment: int) -> bool:
        """From now on commands for this turn go to `gateway_id`, which writes to `segment` of the log. False when there
        is a later segment: another gateway owns the turn by then. Raises NotFound."""
        key = response_key(user_id, response_id)
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            while True:
                await pipe.watch(key)
                found: Any = await pipe.hmget(key, ("owner", "segment"))
                if found[0] is None:
                    raise NotFound("response", param="response_id")
                if int(found[1] or 0) > segment:
                    return False
                pipe.multi()  # type: ignore[no-untyped-call]
                pipe.hset(key, mapping={"owner": gateway_id, "segment": segment})
                try:
                    await pipe.execute()
                except WatchError:
                    continue
                return True

    async def request_cancel(self, user_id: str, response_id: str) -> CancelRequest:
        """Durable: the owner of the turn, now or later, finds it. Raises NotFound.

        In one transaction: a gateway that takes the turn over claims it first and then looks for a cancel request.
        """
        key = response_key(user_id, response_id)
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            pipe.hsetnx(key, "cancel", str(await redis_now_ms(self._redis)))
            pipe.hmget(key, ("owner", "cancel"))
            _, (owner, requested_ms) = await pipe.execute()
            if owner is None:  # just deleted
                await self._redis.delete(key)
                raise NotFound("response", param="response_id")
        return CancelRequest(owner.decode(), int(requested_ms))

    async def delete(self, user_id: str, stored: StoredResponse) -> None:
        """With its items, unless they belong to a conversation, whose items are deleted one by one."""
        key = response_key(user_id, stored.response.id)
        # Not in a transaction: a full Redis refuses even to delete in one. The key that leads to the others goes last.
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            if not is_conversation_id(stored.thread_id):
                _delete_items(pipe, user_id, stored.thread_id, (*stored.input, *stored.response.output))
            pipe.delete(*segment_keys(user_id, stored.response.id, stored.segment), key)
            await pipe.execute()
        await self._quota.refund(user_id, [key])


def _delete_items(pipe: Any, user_id: str, thread_id: str, items: Sequence[Item]) -> None:
    for item in items:
        position = position_in(item.id)
        pipe.zremrangebyscore(items_key(user_id, thread_id), position, position)
