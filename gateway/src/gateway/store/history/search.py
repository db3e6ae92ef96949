"""Which conversations contain all words of a query, in the title or in what was said."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.errors import InvalidRequest
from gateway.protocol.items import decode_item, text_of
from gateway.protocol.resources import Conversation
from gateway.store.errors import translated
from gateway.store.history.keys import items_key

# Redis' own search is a module that many installations have not. Without one a search reads texts, so what one request
# may read is bounded.
_NEWEST_ITEMS = 400
_ITEMS_READ_AT_MOST = 5_000
_ITEMS_AT_ONCE = 50


def words_of(query: str) -> frozenset[str]:
    """Raises InvalidRequest."""
    words = frozenset(query.casefold().split())
    if not words:
        raise InvalidRequest("`query`: expected at least one word, got only white space", param="query")
    return words


def missing(words: frozenset[str], text: str) -> frozenset[str]:
    """Those that do not occur. Anywhere in the text counts: Chinese has no spaces between words."""
    folded = text.casefold()
    return frozenset(word for word in words if word not in folded)


class Search:
    """One request's search; `exhausted` when it has read as much as one request may."""

    def __init__(self, redis: Redis, user_id: str, query: str) -> None:
        self._redis = redis
        self._user_id = user_id
        self._words = words_of(query)
        self._items_read = 0

    @property
    def exhausted(self) -> bool:
        return self._items_read >= _ITEMS_READ_AT_MOST

    async def among(self, conversations: Sequence[Conversation | None]) -> list[Conversation | None]:
        """The same, with None for those that do not match. Of each the newest items are read, as many as it takes."""
        left = {one.id: missing(self._words, one.metadata.get("title", "")) for one in conversations if one is not None}
        open_ids = [conversation_id for conversation_id, words in left.items() if words]
        for start in range(0, _NEWEST_ITEMS, _ITEMS_AT_ONCE):
            texts = await self._texts(open_ids, start)
            for conversation_id, its_texts in texts.items():
                for text in its_texts:
                    if left[conversation_id]:
                        left[conversation_id] = missing(left[conversation_id], text)
            open_ids = [one for one in open_ids if left[one] and len(texts[one]) == _ITEMS_AT_ONCE]
        return [None if one is None or left[one.id] else one for one in conversations]

    async def _texts(self, conversation_ids: Sequence[str], start: int) -> dict[str, list[str]]:
        """Newest first."""
        if not conversation_ids:
            return {}
        async with translated(), self._redis.pipeline(transaction=False) as pipe:
            for conversation_id in conversation_ids:
                key = items_key(self._user_id, conversation_id)
                pipe.zrange(key, start, start + _ITEMS_AT_ONCE - 1, desc=True)
            rows: Any = await pipe.execute()
        self._items_read += sum(len(row) for row in rows)
        return {
            conversation_id: [text_of(decode_item(item)) for item in row]
            for conversation_id, row in zip(conversation_ids, rows, strict=True)
        }
