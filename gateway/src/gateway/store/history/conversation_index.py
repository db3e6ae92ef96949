"""The list of a user's conversations, by their last activity."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.errors import NotFound
from gateway.protocol.ids import is_conversation_id
from gateway.protocol.resources import Conversation, ConversationPage, Order
from gateway.store.errors import translate_redis_errors
from gateway.store.history.cursors import Cursor, parse_cursor
from gateway.store.history.search import Search
from gateway.store.history.stored_conversation import read_conversations
from gateway.store.keys import index_key

# For one page of a search, which then ends even with fewer results than requested.
MAX_SCANNED = 200
_SCANNED_AT_ONCE = 8


class ConversationIndex:
    """Every method raises Unavailable when Redis does not reply."""

    def __init__(self, redis: Redis, *, max_scanned: int = MAX_SCANNED) -> None:
        self._redis = redis
        self._max_scanned = max_scanned

    async def page(
        self, user_id: str, *, limit: int, after: str | None, order: Order, query: str | None = None
    ) -> ConversationPage:
        """`after` is a conversation or the `next_after` of the previous page. With the latter, none is skipped or
        repeated while others move to the top.

        Raises NotFound for any other `after`, InvalidRequest for a `query` without a word.
        """
        search = None if query is None else Search(self._redis, user_id, query)
        last = None if after is None else await self._resolve(user_id, after)
        at_once = limit + 1 if search is None else _SCANNED_AT_ONCE
        found: list[Conversation] = []
        scanned = 0
        while True:
            cursors = await self._read_cursors(user_id, last, order, at_once)
            conversations = await read_conversations(self._redis, user_id, cursors)
            if search is not None:
                conversations = await search.filter(conversations)
            for conversation, cursor in zip(conversations, cursors, strict=True):
                if conversation is not None:
                    if len(found) == limit:
                        return _page(user_id, found, last)
                    found.append(conversation)
                last = cursor
            if len(cursors) < at_once:
                return _page(user_id, found, None)
            scanned += len(cursors)
            if scanned >= self._max_scanned or (search is not None and search.is_exhausted):
                return _page(user_id, found, last)

    async def _resolve(self, user_id: str, after: str) -> Cursor:
        last = parse_cursor(user_id, after)
        if last is None and is_conversation_id(after):
            async with translate_redis_errors():
                active_ms = await self._redis.zscore(index_key(user_id), after)
            if active_ms is not None:
                last = Cursor(int(active_ms), after)
        if last is None:
            raise NotFound("conversation", param="after")
        return last

    async def _read_cursors(self, user_id: str, last: Cursor | None, order: Order, count: int) -> list[Cursor]:
        """The next `count`, by score and not by rank: ranks change when a conversation moves to the top."""
        desc = order == "desc"
        start = ("+inf" if desc else "-inf") if last is None else str(last.active_ms)
        wanted = count + 1
        while True:
            async with translate_redis_errors():
                rows: Any = await self._redis.zrange(
                    index_key(user_id),
                    start,
                    "-inf" if desc else "+inf",
                    desc=desc,
                    byscore=True,
                    offset=0,
                    num=wanted,
                    withscores=True,
                )
            cursors = [Cursor(int(active_ms), name.decode()) for name, active_ms in rows]
            found = [one for one in cursors if last is None or (one < last if desc else one > last)]
            if len(found) >= count or len(rows) < wanted:
                return found[:count]
            wanted *= 2  # several became active in the same millisecond


def _page(user_id: str, found: Sequence[Conversation], last: Cursor | None) -> ConversationPage:
    return ConversationPage(
        tuple(found),
        found[0].id if found else None,
        found[-1].id if found else None,
        last is not None,
        next_after=None if last is None else last.encode(user_id),
    )
