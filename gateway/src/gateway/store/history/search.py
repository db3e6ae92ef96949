"""Finds the conversations that contain all words of a query, in the title or in a message."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.errors import InvalidRequest
from gateway.protocol.items import decode_item, text_of
from gateway.protocol.resources import Conversation
from gateway.store.errors import translate_redis_errors
from gateway.store.keys import items_key

# Redis' own search is a module that many installations lack. Without it a search reads texts, so what one request may
# read is bounded.
_NEWEST_ITEMS = 400
_MAX_ITEMS_READ = 5_000
_ITEMS_AT_ONCE = 50


def words_of(query: str) -> frozenset[str]:
    """Raises InvalidRequest."""
    words = frozenset(query.casefold().split())
    if not words:
        raise InvalidRequest("`query`: expected at least one word, got only white space", param="query")
    return words


def missing_words(words: frozenset[str], text: str) -> frozenset[str]:
    """Those that occur nowhere in the text, also not inside a word: Chinese has no spaces between words."""
    folded = text.casefold()
    return frozenset(word for word in words if word not in folded)


class Search:
    """The search of one request."""

    def __init__(self, redis: Redis, user_id: str, query: str) -> None:
        self._redis = redis
        self._user_id = user_id
        self._words = words_of(query)
        self._items_read = 0

    @property
    def is_exhausted(self) -> bool:
        """It has read as much as one request may."""
        return self._items_read >= _MAX_ITEMS_READ

    async def filter(self, conversations: Sequence[Conversation | None]) -> list[Conversation | None]:
        """The same, with None for those that do not match. Reads only the newest items of each, and only as many as it
        needs."""
        unseen = {
            one.id: missing_words(self._words, one.metadata.get("title", ""))
            for one in conversations
            if one is not None
        }
        open_ids = [conversation_id for conversation_id, words in unseen.items() if words]
        for start in range(0, _NEWEST_ITEMS, _ITEMS_AT_ONCE):
            texts = await self._read_texts(open_ids, start)
            for conversation_id, newest in texts.items():
                for text in newest:
                    if unseen[conversation_id]:
                        unseen[conversation_id] = missing_words(unseen[conversation_id], text)
            open_ids = [one for one in open_ids if unseen[one] and len(texts[one]) == _ITEMS_AT_ONCE]
        return [None if one is None or unseen[one.id] else one for one in conversations]

    async def _read_texts(self, conversation_ids: Sequence[str], start: int) -> dict[str, list[str]]:
        """Newest first."""
        if not conversation_ids:
            return {}
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for conversation_id in conversation_ids:
                key = items_key(self._user_id, conversation_id)
                pipe.zrange(key, start, start + _ITEMS_AT_ONCE - 1, desc=True)
            rows: Any = await pipe.execute()
        self._items_read += sum(len(row) for row in rows)
        return {
            conversation_id: [text_of(decode_item(item)) for item in row]
            for conversation_id, row in zip(conversation_ids, rows, strict=True)
        }
