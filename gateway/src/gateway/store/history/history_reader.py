"""What a turn continues from: the items along a path, which ends in a conversation or in a chain of responses."""

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
    count_items,
    read_head,
    read_range,
)
from gateway.store.history.stored_conversation import decode_generation, decode_metadata
from gateway.store.history.stored_path import decode_path
from gateway.store.keys import items_key, thread_key
from gateway.turn.limits import MAX_READ_BYTES, READ_BYTES, RECENT_ITEMS, check_item_limit
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import Run, ThreadSnapshot

_decode_checkpoint = msgspec.json.Decoder(TokenCountCheckpoint).decode


class HistoryReader:
    """Every method raises Unavailable when Redis does not reply."""

    def __init__(self, redis: Redis, *, recent_items: int = RECENT_ITEMS) -> None:
        self._redis = redis
        self._recent_items = recent_items
        self._first_items = min(recent_items, LARGE_ITEMS_AT_ONCE)

    async def reserve(self, user_id: str, conversation_id: str, count: int) -> ThreadSnapshot:
        """The newest items of a conversation and `count` new positions, in a few round trips. Raises NotFound or
        StorageLimit."""
        key, items = thread_key(user_id, conversation_id), items_key(user_id, conversation_id)
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(key, ["created_at", "metadata", "generation", "measured"])
            pipe.zrange(items, 0, self._first_items - 1, desc=True)
            pipe.zcard(items)
            pipe.hincrby(key, "position", count)
            (created_at, metadata, generation, checkpoint), found, total, last = await pipe.execute()
            if created_at is None:
                await self._redis.delete(key)
                raise NotFound("conversation", param="conversation")
        check_item_limit(total, 1 + max(0, count - MAX_OUTPUT_ITEMS))
        path = (Run(conversation_id, last - count),)
        pages = ItemPages(self._redis, user_id, path)
        await pages.add(found, self._first_items, READ_BYTES)
        if pages.byte_count < READ_BYTES:
            await pages.read(0, pages.last_position - 1, self._recent_items - len(pages.items))
        snapshot = ThreadSnapshot(
            pages.items[::-1],
            last - count + 1,
            _decode_checkpoint(checkpoint) if checkpoint else None,
            decode_generation(generation or b"{}"),
            bool(decode_metadata(metadata or b"{}").get("title")),
            max(0, total - len(pages.items)),
            path=path,
            read_bytes=pages.byte_count,
        )
        return await self.load_head(user_id, snapshot)

    async def open(self, user_id: str, thread_id: str, last: int) -> ThreadSnapshot:
        """The path that ends at the position `last` of a thread, with all its items still to be loaded. Reserves
        nothing."""
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(thread_key(user_id, thread_id), ["ancestry", "position", "measured"])
            pipe.zcount(items_key(user_id, thread_id), 0, last)
            (ancestry, position, checkpoint), own_count = await pipe.execute()
        before = decode_path(ancestry)
        # The checkpoint belongs to the newest items, which a branch does not have.
        is_newest = position is not None and int(position) == last
        return ThreadSnapshot(
            [],
            last + 1,
            _decode_checkpoint(checkpoint) if checkpoint and is_newest else None,
            older_count=await count_items(self._redis, user_id, before) + own_count,
            path=(*before, Run(thread_id, last)),
        )

    async def load_recent(self, user_id: str, snapshot: ThreadSnapshot) -> ThreadSnapshot:
        """With the newest items, as `reserve` returns them."""
        snapshot = await self.load_older(user_id, snapshot, self._recent_items)
        return await self.load_head(user_id, snapshot)

    async def load_head(self, user_id: str, snapshot: ThreadSnapshot) -> ThreadSnapshot:
        """With the instructions that begin the path. Once for each snapshot."""
        if not snapshot.older_count:
            return replace(snapshot, head=())
        head = await read_head(self._redis, user_id, snapshot.path, below=snapshot.first_position)
        return replace(snapshot, head=tuple(head), older_count=max(0, snapshot.older_count - len(head)))

    async def load_older(self, user_id: str, snapshot: ThreadSnapshot, count: int) -> ThreadSnapshot:
        """With `count` more of the older items, or fewer that are long."""
        pages = ItemPages(self._redis, user_id, snapshot.path)
        above = (position_in(snapshot.head[-1].id) or 0) if snapshot.head else 0
        await pages.read(above + 1, snapshot.first_position - 1, count)
        # The end may come sooner than expected: others were deleted since the snapshot.
        older_count = 0 if pages.is_end else max(0, snapshot.older_count - len(pages.items))
        items, read_bytes = [*reversed(pages.items), *snapshot.items], snapshot.read_bytes + pages.byte_count
        return replace(snapshot, items=items, older_count=older_count, read_bytes=read_bytes)

    async def read_until(self, user_id: str, thread_id: str, last: int) -> ThreadSnapshot:
        """The path that ends at the position `last` of a thread, as far back as a request ever reads."""
        snapshot = await self.open(user_id, thread_id, last)
        while snapshot.older_count and snapshot.read_bytes < MAX_READ_BYTES:
            snapshot = await self.load_older(user_id, snapshot, snapshot.older_count)
        return await self.load_head(user_id, snapshot)

    async def read(self, user_id: str, snapshot: ThreadSnapshot, *, since: int = 0) -> list[Item]:
        """All items of its path from the position `since` on."""
        last = snapshot.next_position - 1
        return await read_range(self._redis, user_id, snapshot.path, since, last)
