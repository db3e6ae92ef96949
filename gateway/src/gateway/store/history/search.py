"""Finds the conversations that contain all words of a query, in the title or in a message."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.errors import InvalidRequest
from gateway.pauses import Pacer
from gateway.protocol.items import decode_item, text_of
from gateway.protocol.resources import Conversation
from gateway.store.errors import translate_redis_errors
from gateway.store.history.item_ranges import LARGE_ITEMS_AT_ONCE
from gateway.store.history.quota import stored_sizes
from gateway.store.keys import items_key

# Redis' own search is a module that many installations lack. Without it a search reads texts, so what one request may
# read is bounded.
_NEWEST_ITEMS = 400
_NEWEST_BYTES = 512 * 1024
_MAX_ITEMS_READ = 5_000
_MAX_BYTES_READ = 2 * 2**20
_ITEMS_AT_ONCE = 50
# Below this, looking for all words of a query takes about a millisecond.
_SHORT_TEXT = 32_768


def words_of(query: str) -> frozenset[str]:
    """Without those that are part of another. Raises InvalidRequest."""
    words = frozenset(query.casefold().split())
    if not words:
        raise InvalidRequest("`query`: expected at least one word, got only white space", param="query")
    return frozenset(word for word in words if not any(word in other for other in words if other != word))


def missing_words(words: frozenset[str], text: str) -> frozenset[str]:
    """Those that occur nowhere in the text, also not inside a word: Chinese has no spaces between words."""
    return _missing_in_folded(words, text.casefold())


def _missing_in_folded(words: frozenset[str], folded: str) -> frozenset[str]:
    return frozenset(word for word in words if word not in folded)


class Search:
    """The search of one request."""

    def __init__(self, redis: Redis, user_id: str, query: str) -> None:
        self._redis = redis
        self._user_id = user_id
        self._words = words_of(query)
        self._pacer = Pacer()
        self._items_read = 0
        self._bytes_read = 0

    @property
    def is_exhausted(self) -> bool:
        """It has read as much as one request may."""
        return self._items_read >= _MAX_ITEMS_READ or self._bytes_read >= _MAX_BYTES_READ

    async def filter(self, conversations: Sequence[Conversation | None]) -> list[Conversation | None]:
        """The same, with None for those that do not match. Reads only the newest items of each, and only as many as it
        needs."""
        unseen = {
            one.id: missing_words(self._words, one.metadata.get("title", ""))
            for one in conversations
            if one is not None
        }
        open_ids = [conversation_id for conversation_id, words in unseen.items() if words]
        sizes = await stored_sizes(self._redis, self._user_id, open_ids)
        small = [one for one, size in zip(open_ids, sizes, strict=True) if size is not None and size <= _NEWEST_BYTES]
        await self._search_small(small, unseen)
        for conversation_id in open_ids:
            if conversation_id not in small:
                unseen[conversation_id] = await self._search_large(conversation_id, unseen[conversation_id])
        return [None if one is None or unseen[one.id] else one for one in conversations]

    async def _search_small(self, open_ids: list[str], unseen: dict[str, frozenset[str]]) -> None:
        """All at once: together they are a few megabytes at most."""
        for start in range(0, _NEWEST_ITEMS, _ITEMS_AT_ONCE):
            pages = await self._read(open_ids, start, _ITEMS_AT_ONCE)
            for conversation_id, page in pages.items():
                unseen[conversation_id] = await self._missing(unseen[conversation_id], page)
            open_ids = [one for one in open_ids if unseen[one] and len(pages[one]) == _ITEMS_AT_ONCE]

    async def _search_large(self, conversation_id: str, words: frozenset[str]) -> frozenset[str]:
        start, until = 0, self._bytes_read + _NEWEST_BYTES
        while words and start < _NEWEST_ITEMS and self._bytes_read < until:
            page = (await self._read([conversation_id], start, LARGE_ITEMS_AT_ONCE))[conversation_id]
            words = await self._missing(words, page)
            start += len(page)
            if len(page) < LARGE_ITEMS_AT_ONCE:
                break
        return words

    async def _missing(self, words: frozenset[str], page: Sequence[bytes]) -> frozenset[str]:
        """Of the words, those that no item of the page has."""
        for item in page:
            if not words:
                break
            text = text_of(decode_item(item))
            at_once = [words] if len(text) <= _SHORT_TEXT else [frozenset({word}) for word in words]
            folded, missing = text.casefold(), frozenset[str]()
            for some in at_once:
                await self._pacer.pause_if_due()
                missing |= _missing_in_folded(some, folded)
            words = missing
        return words

    async def _read(self, conversation_ids: Sequence[str], start: int, count: int) -> dict[str, list[bytes]]:
        """Newest first."""
        if not conversation_ids:
            return {}
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for conversation_id in conversation_ids:
                pipe.zrange(items_key(self._user_id, conversation_id), start, start + count - 1, desc=True)
            rows: Any = await pipe.execute()
        self._items_read += sum(len(row) for row in rows)
        self._bytes_read += sum(len(item) for row in rows for item in row)
        return dict(zip(conversation_ids, rows, strict=True))
