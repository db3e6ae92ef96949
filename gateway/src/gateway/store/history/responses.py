"""Stored responses: the resource of each answer, what was asked for it, and where its items are."""

from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.errors import NotFound
from gateway.protocol.ids import is_conversation_id, is_response_id, position_in
from gateway.protocol.items import Item
from gateway.protocol.resources import decode_response
from gateway.store.errors import translated
from gateway.store.history.keys import items_key, log_keys, now_ms, response_key
from gateway.store.history.sizes import StorageQuota
from gateway.turn.records import CancelRequest, InterruptedTurn, StoredResponse
from gateway.turn.state_machine import TurnRequest

_decode_request = msgspec.json.Decoder(TurnRequest).decode
_decode_items = msgspec.json.Decoder(tuple[Item, ...]).decode
_FIELDS = ("response", "input", "thread", "last", "owner", "segment")


class ResponseStore:
    """Every method raises Unavailable when Redis does not answer."""

    def __init__(self, redis: Redis, sizes: StorageQuota | None = None) -> None:
        self._redis = redis
        self._sizes = sizes or StorageQuota(redis)

    async def get(self, user_id: str, response_id: str) -> StoredResponse:
        """Raises NotFound, for a foreign id as for an absent one."""
        if not is_response_id(response_id):
            raise NotFound("response", param="response_id")
        async with translated():
            found: Any = await self._redis.hmget(response_key(user_id, response_id), _FIELDS)
        response, asked, thread, last, owner, segment = found
        if response is None:
            raise NotFound("response", param="response_id")
        place = thread.decode(), int(last), owner.decode(), int(segment or 0)
        return StoredResponse(decode_response(response), _decode_items(asked), *place)

    async def interrupted(self, user_id: str, response_id: str) -> InterruptedTurn:
        """What another gateway needs to go on with the turn. Raises NotFound."""
        stored = await self.get(user_id, response_id)
        async with translated():
            found: Any = await self._redis.hmget(response_key(user_id, response_id), ("request", "cancel"))
        request, cancel = found
        if request is None:
            raise NotFound("response", param="response_id")
        ago = None if cancel is None else max(0, now_ms() - int(cancel))
        return InterruptedTurn(_decode_request(request), stored, ago)

    async def claim(self, user_id: str, response_id: str, gateway_id: str, segment: int) -> bool:
        """From now on wishes for this turn go to `gateway_id`, which tells it in `segment` of its log. False when it is
        told in a later one already: then it is somebody else's. Raises NotFound."""
        key = response_key(user_id, response_id)
        async with translated(), self._redis.pipeline(transaction=True) as pipe:
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
        """Durable: whoever owns the turn, now or later, finds it. Raises NotFound.

        In one step: a gateway that takes the turn over names itself and then looks for wishes.
        """
        key = response_key(user_id, response_id)
        async with translated(), self._redis.pipeline(transaction=True) as pipe:
            pipe.hsetnx(key, "cancel", str(now_ms()))
            pipe.hmget(key, ("owner", "cancel"))
            _, (owner, wished) = await pipe.execute()
            if owner is None:  # deleted at this moment
                await self._redis.delete(key)
                raise NotFound("response", param="response_id")
        return CancelRequest(owner.decode(), int(wished))

    async def delete(self, user_id: str, stored: StoredResponse) -> None:
        """With its items, unless they belong to a conversation: there they are deleted one by one."""
        key = response_key(user_id, stored.response.id)
        # Not in a transaction: a full Redis refuses even to delete in one. What names the rest goes last.
        async with translated(), self._redis.pipeline(transaction=False) as pipe:
            if not is_conversation_id(stored.thread_id):
                self._forget(pipe, user_id, stored.thread_id, (*stored.input, *stored.response.output))
            pipe.delete(*log_keys(user_id, stored.response.id, stored.segment), key)
            await pipe.execute()
        await self._sizes.forget(user_id, [key])

    def _forget(self, pipe: Any, user_id: str, thread_id: str, items: Sequence[Item]) -> None:
        for item in items:
            position = position_in(item.id)
            pipe.zremrangebyscore(items_key(user_id, thread_id), position, position)
