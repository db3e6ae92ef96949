"""What a turn continues from: the items of a thread, which is a conversation or a chain of responses."""

from dataclasses import replace

import msgspec
from redis.asyncio import Redis

from gateway.context.prompt import TokenCountCheckpoint
from gateway.errors import NotFound
from gateway.protocol.ids import position_in
from gateway.protocol.items import Item
from gateway.store.errors import translate_redis_errors
from gateway.store.history.item_ranges import (
    LARGE_ITEMS_AT_ONCE,
    ItemPages,
    read_head,
    read_range,
)
from gateway.store.history.stored_conversation import decode_generation, decode_metadata
from gateway.store.keys import items_key, thread_key
from gateway.turn.limits import MAX_ITEMS, MAX_READ_BYTES, READ_BYTES, RECENT_ITEMS, check_item_limit
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import ThreadSnapshot

_decode_checkpoint = msgspec.json.Decoder(TokenCountCheckpoint).decode


class HistoryReader:
    """Every method raises Unavailable when Redis does not reply."""

    def __init__(self, redis: Redis, *, recent_items: int = RECENT_ITEMS) -> None:
        self._redis = redis
        self._recent_items = recent_items
        self._first_items = min(recent_items, LARGE_ITEMS_AT_ONCE)

    async def reserve(self, user_id: str, thread_id: str, count: int) -> ThreadSnapshot:
        """The newest items and `count` new positions, in a few round trips. Raises NotFound or StorageLimit."""
        key = thread_key(user_id, thread_id)
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(key, ["created_at", "metadata", "generation", "measured"])
            pipe.zrange(items_key(user_id, thread_id), 0, self._first_items - 1, desc=True)
            pipe.zcard(items_key(user_id, thread_id))
            pipe.hincrby(key, "position", count)
            (created_at, metadata, generation, checkpoint), found, total, last = await pipe.execute()
            if created_at is None:
                await self._redis.delete(key)
                raise NotFound("conversation", param="conversation")
        check_item_limit(total, 1 + max(0, count - MAX_OUTPUT_ITEMS))
        pages = ItemPages(self._redis, user_id, thread_id)
        await pages.add(found, self._first_items)
        if pages.byte_count < READ_BYTES:
            await pages.read(f"({pages.last_position}", "-inf", self._recent_items - len(pages.items))
        snapshot = ThreadSnapshot(
            pages.items[::-1],
            last - count + 1,
            _decode_checkpoint(checkpoint) if checkpoint else None,
            decode_generation(generation or b"{}"),
            bool(decode_metadata(metadata or b"{}").get("title")),
            max(0, total - len(pages.items)),
            read_bytes=pages.byte_count,
        )
        return await self.load_head(user_id, thread_id, snapshot)

    async def load_head(self, user_id: str, thread_id: str, snapshot: ThreadSnapshot) -> ThreadSnapshot:
        """With the instructions that begin the thread. Once for each snapshot."""
        if not snapshot.older_count:
            return replace(snapshot, head=())
        head = await read_head(self._redis, user_id, thread_id, below=snapshot.first_position)
        return replace(snapshot, head=tuple(head), older_count=max(0, snapshot.older_count - len(head)))

    async def load_older(self, user_id: str, thread_id: str, snapshot: ThreadSnapshot, count: int) -> ThreadSnapshot:
        """With `count` more of the older items, or fewer that are long."""
        pages = ItemPages(self._redis, user_id, thread_id)
        above = (position_in(snapshot.head[-1].id) or 0) if snapshot.head else 0
        await pages.read(f"({snapshot.first_position}", f"({above}", count)
        # The end may come sooner than expected: others were deleted since the snapshot.
        older_count = 0 if pages.is_end else max(0, snapshot.older_count - len(pages.items))
        items, read_bytes = [*reversed(pages.items), *snapshot.items], snapshot.read_bytes + pages.byte_count
        return replace(snapshot, items=items, older_count=older_count, read_bytes=read_bytes)

    async def read_until(self, user_id: str, thread_id: str, last: int) -> ThreadSnapshot:
        """The thread as it was when the position `last` was its last one, as far back as a request ever reads."""
        pages = ItemPages(self._redis, user_id, thread_id)
        await pages.read(str(last), "-inf", MAX_ITEMS)
        while not pages.is_end and pages.byte_count < MAX_READ_BYTES:
            await pages.read(f"({pages.last_position}", "-inf", MAX_ITEMS)
        older_count = 0
        if not pages.is_end:
            async with translate_redis_errors():
                older_count = await self._redis.zcount(items_key(user_id, thread_id), "-inf", f"({pages.last_position}")
        snapshot = ThreadSnapshot(pages.items[::-1], last + 1, older_count=older_count, read_bytes=pages.byte_count)
        return await self.load_head(user_id, thread_id, snapshot)

    async def read(self, user_id: str, thread_id: str, last: int, *, since: int = 0) -> list[Item]:
        """All items from the position `since` up to the position `last`."""
        return await read_range(self._redis, user_id, thread_id, since, last)
