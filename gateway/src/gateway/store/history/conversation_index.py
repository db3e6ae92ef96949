"""The list of a user's conversations, by their last activity."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.errors import NotFound
from gateway.protocol.ids import is_conversation_id
from gateway.protocol.resources import Conversation, ConversationPage, Order
from gateway.store.errors import translated
from gateway.store.history.cursors import Cursor, parse_cursor
from gateway.store.history.keys import index_key
from gateway.store.history.reading import read_all
from gateway.store.history.search import Search

# So many are looked at for one page of a search: then it ends, also with less than was asked for.
MAX_SCANNED = 200
_SCANNED_AT_ONCE = 8


class ConversationIndex:
    """Every method raises Unavailable when Redis does not answer."""

    def __init__(self, redis: Redis, *, max_scanned: int = MAX_SCANNED) -> None:
        self._redis = redis
        self._scanned_at_most = max_scanned

    async def page(
        self, user_id: str, *, limit: int, after: str | None, order: Order, query: str | None = None
    ) -> ConversationPage:
        """`after` is a conversation or the `next_after` of the page before. With the latter the page stays right while
        conversations move to the top: nothing else is skipped or comes twice.

        Raises NotFound for an `after` that is neither, InvalidRequest for a `query` without a word.
        """
        search = None if query is None else Search(self._redis, user_id, query)
        last = None if after is None else await self._cursor(user_id, after)
        at_once = limit + 1 if search is None else _SCANNED_AT_ONCE
        found: list[Conversation] = []
        scanned = 0
        while True:
            cursors = await self._following(user_id, last, order, at_once)
            conversations = await read_all(self._redis, user_id, cursors)
            if search is not None:
                conversations = await search.among(conversations)
            for conversation, cursor in zip(conversations, cursors, strict=True):
                if conversation is not None:
                    if len(found) == limit:
                        return _page(user_id, found, last)
                    found.append(conversation)
                last = cursor
            if len(cursors) < at_once:
                return _page(user_id, found, None)
            scanned += len(cursors)
            if scanned >= self._scanned_at_most or (search is not None and search.exhausted):
                return _page(user_id, found, last)

    async def _cursor(self, user_id: str, after: str) -> Cursor:
        last = parse_cursor(user_id, after)
        if last is None and is_conversation_id(after):
            async with translated():
                active_ms = await self._redis.zscore(index_key(user_id), after)
            if active_ms is not None:
                last = Cursor(int(active_ms), after)
        if last is None:
            raise NotFound("conversation", param="after")
        return last

    async def _following(self, user_id: str, last: Cursor | None, order: Order, count: int) -> list[Cursor]:
        """By score and not by rank, which changes whenever something moves to the top."""
        desc = order == "desc"
        start = ("+inf" if desc else "-inf") if last is None else str(last.active_ms)
        wanted = count + 1
        while True:
            async with translated():
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
            following = [one for one in cursors if last is None or (one < last if desc else one > last)]
            if len(following) >= count or len(rows) < wanted:
                return following[:count]
            wanted *= 2  # many became active in the same millisecond


def _page(user_id: str, found: Sequence[Conversation], last: Cursor | None) -> ConversationPage:
    return ConversationPage(
        tuple(found),
        found[0].id if found else None,
        found[-1].id if found else None,
        last is not None,
        next_after=None if last is None else last.text(user_id),
    )
