"""Stored responses: the resource of each answer, and where its items are.

A response that has ended contains none of its items: they are in its thread, at the positions that the turn reserved.
While it runs it contains its input, for the gateway that may take it over. Earlier versions kept all items in it.
"""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.errors import NotFound, StorageFull
from gateway.protocol.ids import is_conversation_id, is_response_id, position_in
from gateway.protocol.items import Item
from gateway.protocol.resources import decode_response
from gateway.store.clock import redis_now_ms
from gateway.store.errors import translate_redis_errors
from gateway.store.history.item_ranges import read_range
from gateway.store.history.quota import StorageQuota
from gateway.store.history.sizes import RESPONSE_ENTRY
from gateway.store.keys import LOG_SUFFIX, items_key, response_key, responses_key, segment_keys, thread_key
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import CancelRequest, InterruptedTurn, Run, StoredResponse, content_digest
from gateway.turn.turn_request import TurnRequest

_decode_request = msgspec.json.Decoder(TurnRequest).decode
_decode_items = msgspec.json.Decoder(tuple[Item, ...]).decode
_FIELDS = ("response", "input", "digest", "thread", "first", "last", "owner", "segment", "size")


class ResponseStore:
    """Every method raises Unavailable when Redis does not reply."""

    def __init__(self, redis: Redis, quota: StorageQuota | None = None) -> None:
        self._redis = redis
        self._quota = quota or StorageQuota(redis)

    async def get(self, user_id: str, response_id: str) -> StoredResponse:
        """With those of its items that still exist. Raises NotFound, for another user's id as for an absent one."""
        stored, has_items = await self._read(user_id, response_id)
        return stored if has_items else await self._load_items(user_id, stored)

    async def find(self, user_id: str, response_id: str) -> StoredResponse:
        """Without its items, in one round trip. Raises NotFound."""
        stored, _ = await self._read(user_id, response_id)
        return stored

    async def _read(self, user_id: str, response_id: str) -> tuple[StoredResponse, bool]:
        """Also whether it contains its items."""
        if not is_response_id(response_id):
            raise NotFound("response", param="response_id")
        async with translate_redis_errors():
            found: Any = await self._redis.hmget(response_key(user_id, response_id), _FIELDS)
        response, input_items, digest, thread, first, last, owner, segment, size = found
        if response is None:
            raise NotFound("response", param="response_id")
        items, output_position = _decode_items(input_items), int(last) - MAX_OUTPUT_ITEMS + 1
        stored = StoredResponse(
            decode_response(response),
            items,
            content_digest(items) if digest is None else digest.decode(),
            thread_id=thread.decode(),
            first_position=output_position - len(items) if first is None else int(first),
            last_position=int(last),
            owner=owner.decode(),
            segment=int(segment or 0),
            items_size=int(size or 0),
        )
        return stored, first is None or not stored.has_ended

    async def _load_items(self, user_id: str, stored: StoredResponse) -> StoredResponse:
        path = (Run(stored.thread_id, stored.last_position),)
        items = await read_range(self._redis, user_id, path, stored.first_position, stored.last_position)
        output_position = stored.last_position - MAX_OUTPUT_ITEMS + 1
        given = [item for item in items if (position_in(item.id) or 0) < output_position]
        output: Any = tuple(items[len(given) :])
        response = msgspec.structs.replace(stored.response, output=output)
        return replace(stored, input=tuple(given), response=response)

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
                items = items_key(user_id, stored.thread_id)
                pipe.zremrangebyscore(items, stored.first_position, stored.last_position)
            pipe.srem(responses_key(user_id, stored.thread_id), stored.response.id)
            pipe.delete(*segment_keys(user_id, stored.response.id, stored.segment))
            pipe.delete(key)
            *_, was_stored = await pipe.execute()
        await self._quota.refund(user_id, [stored.response.id, stored.response.id + LOG_SUFFIX])
        if was_stored:  # one of several requests deletes it
            size = stored.items_size if stored.is_chained else 0
            await self._quota.reduce(user_id, stored.thread_id, size + RESPONSE_ENTRY)
        if not is_conversation_id(stored.thread_id):
            with suppress(StorageFull):  # an empty chain has no text, and expires
                await self._delete_empty_chain(user_id, stored.thread_id)

    async def _delete_empty_chain(self, user_id: str, thread_id: str) -> None:
        key, rest = thread_key(user_id, thread_id), (items_key(user_id, thread_id), responses_key(user_id, thread_id))
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(key)
            if await pipe.exists(*rest):
                return
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.delete(key)
            try:
                await pipe.execute()
            except WatchError:  # a response was just added
                return
        await self._quota.refund(user_id, [thread_id])
