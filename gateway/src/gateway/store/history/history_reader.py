"""What a turn continues from: the items of a thread, which is a conversation or a chain of responses."""

from dataclasses import replace

import msgspec
from redis.asyncio import Redis

from gateway.context.prompt import TokenCountCheckpoint
from gateway.errors import NotFound
from gateway.protocol.items import Item, decode_item
from gateway.store.errors import translate_redis_errors
from gateway.store.history.item_ranges import read_head, read_older, read_range
from gateway.store.history.stored_conversation import decode_generation, decode_metadata
from gateway.store.keys import items_key, thread_key
from gateway.turn.limits import RECENT_ITEMS, check_item_limit
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import ThreadSnapshot

_decode_checkpoint = msgspec.json.Decoder(TokenCountCheckpoint).decode


class HistoryReader:
    """Every method raises Unavailable when Redis does not reply."""

    def __init__(self, redis: Redis, *, recent_items: int = RECENT_ITEMS) -> None:
        self._redis = redis
        self._recent_items = recent_items

    async def reserve(self, user_id: str, thread_id: str, count: int) -> ThreadSnapshot:
        """The newest items and `count` new positions, in two round trips at most. Raises NotFound or StorageLimit."""
        key = thread_key(user_id, thread_id)
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(key, ["created_at", "metadata", "generation", "measured"])
            pipe.zrange(items_key(user_id, thread_id), -self._recent_items, -1)
            pipe.zcard(items_key(user_id, thread_id))
            pipe.hincrby(key, "position", count)
            (created_at, metadata, generation, checkpoint), items, total, last = await pipe.execute()
            if created_at is None:
                await self._redis.delete(key)
                raise NotFound("conversation", param="conversation")
        check_item_limit(total, 1 + max(0, count - MAX_OUTPUT_ITEMS))
        snapshot = ThreadSnapshot(
            [decode_item(item) for item in items],
            last - count + 1,
            _decode_checkpoint(checkpoint) if checkpoint else None,
            decode_generation(generation or b"{}"),
            bool(decode_metadata(metadata or b"{}").get("title")),
            max(0, total - len(items)),
        )
        return await self.load_head(user_id, thread_id, snapshot)

    async def load_head(self, user_id: str, thread_id: str, snapshot: ThreadSnapshot) -> ThreadSnapshot:
        """With the instructions that begin the thread. Once for each snapshot."""
        if not snapshot.older_count:
            return replace(snapshot, head=())
        head = await read_head(self._redis, user_id, thread_id, below=snapshot.first_position)
        return replace(snapshot, head=tuple(head), older_count=max(0, snapshot.older_count - len(head)))

    async def load_older(self, user_id: str, thread_id: str, snapshot: ThreadSnapshot, count: int) -> ThreadSnapshot:
        """With `count` more of the older items."""
        older = await read_older(
            self._redis, user_id, thread_id, count, head=snapshot.head, below=snapshot.first_position
        )
        # Fewer than expected: others were deleted since the snapshot.
        older_count = max(0, snapshot.older_count - len(older)) if len(older) == count else 0
        return replace(snapshot, items=[*older, *snapshot.items], older_count=older_count)

    async def read(self, user_id: str, thread_id: str, last: int, *, since: int = 0) -> list[Item]:
        """All items from the position `since` up to the position `last`."""
        return await read_range(self._redis, user_id, thread_id, since, last)
