"""The list of conversations with its `cursors`, and the `search` in it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.errors import NotFound
from gateway.protocol.resources import ConversationPage, Order
from gateway.store.history import search as search_module
from gateway.store.history.conversation_index import ConversationIndex
from gateway.store.history.conversations import Conversations
from gateway.store.history.cursors import Cursor, parse_cursor
from gateway.store.history.search import words_of
from tests.gateway.items import ABSENT, ALICE, BOB, MALFORMED_IDS, input_messages

INDEX = "parley:{user_a}:conversations"


async def became_active(redis: Redis, at: dict[str, int]) -> None:
    await redis.zadd(INDEX, dict(at))


async def a_few(conversations: Conversations, redis: Redis, count: int) -> list[str]:
    """Their ids, the least recently active first."""
    ids = [(await conversations.create(ALICE, {"n": str(number)})).id for number in range(count)]
    await became_active(redis, {one: 1000 * number for number, one in enumerate(ids)})
    return ids


def ids_of(page: ConversationPage) -> list[str]:
    return [one.id for one in page.data]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_conversations_are_listed_by_their_last_activity(
    conversations: Conversations, redis: Redis, order: Order
) -> None:
    ids = await a_few(conversations, redis, 3)
    page = await conversations.index.page(ALICE, limit=3, after=None, order=order)
    expected = ids if order == "asc" else ids[::-1]
    assert ids_of(page) == expected
    assert (page.first_id, page.last_id) == (expected[0], expected[-1])
    assert (page.has_more, page.next_after) == (False, None)
    assert {one.last_active_at for one in page.data} == {0, 1, 2}


async def test_a_new_message_moves_a_conversation_to_the_top(conversations: Conversations, redis: Redis) -> None:
    ids = await a_few(conversations, redis, 3)
    await conversations.items.create(ALICE, ids[0], input_messages("hello"))
    assert ids_of(await conversations.index.page(ALICE, limit=3, after=None, order="desc")) == [ids[0], ids[2], ids[1]]


async def test_a_page_starts_after_a_conversation_or_a_cursor(conversations: Conversations, redis: Redis) -> None:
    ids = await a_few(conversations, redis, 5)
    first = await conversations.index.page(ALICE, limit=3, after=None, order="desc")
    assert (ids_of(first), first.has_more) == ([ids[4], ids[3], ids[2]], True)
    for after in (first.last_id, first.next_after):
        rest = await conversations.index.page(ALICE, limit=3, after=after, order="desc")
        assert (ids_of(rest), rest.has_more, rest.next_after) == ([ids[1], ids[0]], False, None)


async def test_a_cursor_outlives_its_conversation(conversations: Conversations, redis: Redis) -> None:
    ids = await a_few(conversations, redis, 4)
    first = await conversations.index.page(ALICE, limit=2, after=None, order="desc")
    await conversations.delete(ALICE, ids[2])
    rest = await conversations.index.page(ALICE, limit=2, after=first.next_after, order="desc")
    assert ids_of(rest) == [ids[1], ids[0]]


@pytest.mark.parametrize(
    "strange", [ABSENT, *MALFORMED_IDS, f"{ABSENT}.1763830000123", f"{ABSENT}.1763830000123.00000000"]
)
async def test_an_after_that_is_unknown_or_malformed_is_not_found(conversations: Conversations, strange: str) -> None:
    with pytest.raises(NotFound) as caught:
        await conversations.index.page(ALICE, limit=5, after=strange, order="desc")
    assert caught.value.param == "after"


async def test_a_foreign_after_is_not_found(conversations: Conversations, redis: Redis) -> None:
    await a_few(conversations, redis, 2)
    hers = await conversations.index.page(ALICE, limit=1, after=None, order="desc")
    for after in (hers.last_id, hers.next_after):
        with pytest.raises(NotFound) as caught:
            await conversations.index.page(BOB, limit=5, after=after, order="desc")
        assert (caught.value.message, caught.value.param) == ("no such conversation", "after")


def test_a_cursor_is_valid_only_for_its_user() -> None:
    cursor = Cursor(1763830000123, "conv_x")
    assert parse_cursor(ALICE, cursor.encode(ALICE)) == cursor
    assert parse_cursor(BOB, cursor.encode(ALICE)) is None


async def test_conversations_of_the_same_millisecond_are_all_listed_once(
    conversations: Conversations, redis: Redis
) -> None:
    ids = await a_few(conversations, redis, 30)
    await became_active(redis, dict.fromkeys(ids, 7))
    seen: list[str] = []
    after, more = None, True
    while more:
        page = await conversations.index.page(ALICE, limit=4, after=after, order="desc")
        seen += ids_of(page)
        after, more = page.next_after, page.has_more
    assert seen == sorted(ids, reverse=True)


# What happens between two pages: a message in a conversation, or its deletion, by its number.
HAPPENINGS = st.lists(st.tuples(st.sampled_from(["spoken", "deleted"]), st.integers(0, 11)), max_size=4)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scores=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    limit=st.integers(1, 4),
    between=st.lists(HAPPENINGS, max_size=12),
)
async def test_while_conversations_move_or_are_deleted_the_others_are_listed_once_and_in_order(
    redis: Redis, scores: list[int], limit: int, between: list[list[tuple[str, int]]]
) -> None:
    await redis.flushall()
    conversations = Conversations(redis)
    ids = await a_few(conversations, redis, len(scores))
    await became_active(redis, dict(zip(ids, scores, strict=True)))
    touched: set[str] = set()
    seen: list[str] = []
    after, more, now, happenings = None, True, 100, iter(between)
    while more:
        page = await conversations.index.page(ALICE, limit=limit, after=after, order="desc")
        seen += ids_of(page)
        after, more = page.next_after, page.has_more
        for what, number in next(happenings, []):
            one = ids[number % len(ids)]
            if what == "deleted":
                await redis.zrem(INDEX, one)
            else:
                now += 1
                await redis.zadd(INDEX, {one: now})
            touched.add(one)
    assert len(seen) == len(set(seen))
    untouched = [one for one in ids if one not in touched]
    in_order = sorted(untouched, key=lambda one: (scores[ids.index(one)], one), reverse=True)
    assert [one for one in seen if one in untouched] == in_order


async def search(conversations: Conversations, query: str, **how: object) -> list[str]:
    page = await conversations.index.page(ALICE, query=query, **{"limit": 100, "after": None, "order": "desc", **how})  # type: ignore[arg-type]
    return ids_of(page)


@pytest.fixture
async def lighthouses(conversations: Conversations) -> tuple[str, str]:
    """Two conversations of Alice and one of Bob."""
    english = await conversations.create(
        ALICE, {"title": "Old Lighthouses"}, items=input_messages("How tall was PHAROS?")
    )
    chinese = await conversations.create(
        ALICE, {"title": "旅行"}, items=input_messages("亚历山大灯塔有多高？", "在埃及。")
    )
    await conversations.create(BOB, {"title": "lighthouses"}, items=input_messages("灯塔"))
    return english.id, chinese.id


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("lighthouse", [0]),
        ("LIGHTHOUSES pharos", [0]),
        ("pharos how\ttall", [0]),
        ("灯塔", [1]),
        ("灯塔 埃及 旅行", [1]),
        ("灯塔 lighthouse", []),
        ("input_text", []),
        ("msg_", []),
        ("？", [1]),
        ("a", [0]),
    ],
)
async def test_all_words_must_occur_in_the_title_or_in_messages(
    conversations: Conversations, lighthouses: tuple[str, str], query: str, numbers: list[int]
) -> None:
    assert await search(conversations, query) == [lighthouses[number] for number in numbers]


async def test_only_messages_are_searched(conversations: Conversations, redis: Redis) -> None:
    made = await conversations.create(ALICE, {})
    call = b'{"type":"function_call","id":"fc_1","call_id":"c","name":"weather","arguments":"{}","status":"completed"}'
    await redis.zadd(f"parley:{{user_a}}:conversation:{made.id}:items", {call: 1})
    assert await search(conversations, "weather") == []


async def test_a_word_far_back_in_a_long_conversation_is_found(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {}, items=input_messages("needle"))
    for _ in range(8):
        await conversations.items.create(ALICE, made.id, input_messages(*["hay"] * 20))
    assert await search(conversations, "hay needle") == [made.id]


async def test_a_search_is_paged_like_the_list(conversations: Conversations, redis: Redis) -> None:
    ids = await a_few(conversations, redis, 30)
    for one in ids[::3]:
        await conversations.update(ALICE, one, metadata={"title": "needle"})
    seen: list[str] = []
    sizes: list[int] = []
    after, more = None, True
    while more:
        page = await conversations.index.page(ALICE, limit=4, after=after, order="desc", query="needle")
        seen += ids_of(page)
        sizes.append(len(page.data))
        after, more = page.next_after, page.has_more
    assert (seen, sizes) == (ids[::3][::-1], [4, 4, 2])


async def test_a_search_that_scanned_enough_conversations_ends_with_a_cursor(
    conversations: Conversations, redis: Redis
) -> None:
    ids = await a_few(conversations, redis, 40)
    await conversations.update(ALICE, ids[0], metadata={"title": "needle"})
    index = ConversationIndex(redis, max_scanned=16)
    pages = []
    after, more = None, True
    while more:
        pages.append(await index.page(ALICE, limit=4, after=after, order="desc", query="needle"))
        after, more = pages[-1].next_after, pages[-1].has_more
    assert [ids_of(page) for page in pages] == [[], [], [ids[0]]]
    assert [page.last_id for page in pages] == [None, None, ids[0]]


@pytest.mark.parametrize("words", ["ab abc bc b", "Abc"])
def test_a_word_that_is_part_of_another_is_not_looked_for(words: str) -> None:
    assert words_of(words) == {"abc"}


async def test_of_a_conversation_with_long_texts_the_newest_are_searched(
    conversations: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "_NEWEST_BYTES", 20_000)
    texts = ["oldest", *("x" * 2000 for _ in range(30)), "newest"]
    made = await conversations.create(ALICE, {}, items=input_messages(*texts))
    assert await search(conversations, "newest") == [made.id]
    assert await search(conversations, "oldest") == []


async def test_a_search_that_read_enough_bytes_ends_with_a_cursor(
    conversations: Conversations, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await a_few(conversations, redis, 20)
    for one in ids:
        await conversations.items.create(ALICE, one, input_messages("x" * 2000))
    ids = [one.id for one in (await conversations.index.page(ALICE, limit=100, after=None, order="desc")).data]
    monkeypatch.setattr(search_module, "_MAX_BYTES_READ", 10_000)
    first = await conversations.index.page(ALICE, limit=4, after=None, order="desc", query="needle")
    assert (first.data, first.has_more) == ((), True)
    assert first.next_after is not None
    assert first.next_after.startswith(ids[7])


async def test_a_search_that_read_enough_items_ends_with_a_cursor(conversations: Conversations, redis: Redis) -> None:
    """Of each only the newest items are read."""
    ids = await a_few(conversations, redis, 24)
    for one in ids:
        members = {
            f'{{"type":"message","id":"{n}","role":"user","status":"completed","content":[]}}': n for n in range(500)
        }
        await redis.zadd(f"parley:{{user_a}}:conversation:{one}:items", members)
    first = await conversations.index.page(ALICE, limit=4, after=None, order="desc", query="needle")
    assert (first.data, first.has_more) == ((), True)
    assert first.next_after is not None
    assert first.next_after.startswith(ids[8])  # twice eight of them, 400 items each
