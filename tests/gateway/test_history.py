import asyncio

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.errors import NotFound, Unavailable
from gateway.history import History
from gateway.protocol.ids import new_message_id
from gateway.protocol.resources import Conversation, InputText, Message, OutputText

ALICE, BOB = "user_a", "user_b"


def question(position: int, text: str = "?") -> Message:
    return Message(new_message_id(position), "user", "completed", (InputText(text),))


def answer(position: int, text: str = "!") -> Message:
    return Message(new_message_id(position), "assistant", "completed", (OutputText(text),))


@pytest.fixture
def history(redis: Redis) -> History:
    return History(redis)


async def test_a_conversation_is_found_again_with_its_metadata(history: History) -> None:
    made = await history.create(ALICE, {"title": "灯塔"})
    assert await history.conversation(ALICE, made.id) == made
    assert made.metadata == {"title": "灯塔"}


async def test_items_come_back_in_order_with_all_their_text(history: History) -> None:
    made = await history.create(ALICE, {})
    items, first = await history.reserve(ALICE, made.id, 2)
    assert (items, first) == ([], 1)
    asked, answered = question(first, "你好 👋\u200d\n"), answer(first + 1)
    await history.append(ALICE, made.id, [asked])
    await history.append(ALICE, made.id, [answered])
    assert (await history.reserve(ALICE, made.id, 1))[0] == [asked, answered]


async def test_of_a_very_long_conversation_the_most_recent_turns_are_read(redis: Redis) -> None:
    history = History(redis, recent_items=3)
    made = await history.create(ALICE, {})
    items = [question(1), answer(2), question(3), answer(4)]
    await history.append(ALICE, made.id, items)
    assert (await history.reserve(ALICE, made.id, 1))[0] == items[2:]


async def test_an_item_appended_again_is_there_once(history: History) -> None:
    made = await history.create(ALICE, {})
    item = question(1)
    await history.append(ALICE, made.id, [item])
    await history.append(ALICE, made.id, [item])
    assert (await history.reserve(ALICE, made.id, 1))[0] == [item]


async def test_two_turns_at_once_keep_each_question_beside_its_answer(history: History) -> None:
    made = await history.create(ALICE, {})
    (_, one), (_, two) = await asyncio.gather(*(history.reserve(ALICE, made.id, 2) for _ in range(2)))
    first, second = sorted((one, two))
    for item in (question(first, "1"), question(second, "2"), answer(second + 1, "2"), answer(first + 1, "1")):
        await history.append(ALICE, made.id, [item])
    items, _ = await history.reserve(ALICE, made.id, 1)
    assert [item.text for item in items] == ["1", "1", "2", "2"]


async def test_a_foreign_conversation_answers_as_an_absent_one(history: History) -> None:
    made = await history.create(ALICE, {})
    absent = "conv_" + "0" * 32
    for conversation_id in (made.id, absent):
        with pytest.raises(NotFound) as caught:
            await history.conversation(BOB, conversation_id)
        assert caught.value.message == "no such conversation"
        with pytest.raises(NotFound):
            await history.reserve(BOB, conversation_id, 2)
        with pytest.raises(NotFound):
            await history.items(BOB, conversation_id, limit=10, after=None, order="asc")


async def test_asking_for_an_absent_conversation_leaves_nothing_behind(history: History, redis: Redis) -> None:
    with pytest.raises(NotFound):
        await history.reserve(ALICE, "conv_" + "0" * 32, 2)
    assert await redis.keys() == []


@pytest.mark.parametrize("given", ["conv_a:items", "conv_*", "../x", "conv_{user_b}", "", "conv_\ud800"])
async def test_an_id_of_a_strange_shape_never_reaches_a_key(history: History, given: str) -> None:
    with pytest.raises(NotFound):
        await history.reserve(ALICE, given, 2)
    with pytest.raises(NotFound):
        await history.conversation(ALICE, given)
    with pytest.raises(NotFound):
        await history.conversations(ALICE, limit=5, after=given, order="desc")


async def test_conversations_are_paged_newest_activity_first(history: History, redis: Redis) -> None:
    made = [await history.create(ALICE, {"n": str(number)}) for number in range(5)]
    for number, one in enumerate(made):
        await redis.zadd("parley:{user_a}:conversations", {one.id: number})
    await history.append(ALICE, made[0].id, [question(1)])
    first = await history.conversations(ALICE, limit=3, after=None, order="desc")
    rest = await history.conversations(ALICE, limit=3, after=first.last_id, order="desc")
    assert [one.metadata["n"] for one in first.data] == ["0", "4", "3"]
    assert [one.metadata["n"] for one in rest.data] == ["2", "1"]
    assert (first.has_more, rest.has_more) == (True, False)


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_items_are_paged_without_gap_or_double_while_more_arrive(history: History, order: str) -> None:
    made = await history.create(ALICE, {})
    items = [question(number) for number in range(1, 8)]
    await history.append(ALICE, made.id, items)
    seen: list[Message] = []
    after = None
    for expected in (3, 3, 1):
        page = await history.items(ALICE, made.id, limit=3, after=after, order="asc" if order == "asc" else "desc")
        assert len(page.data) == expected
        seen += page.data
        after = page.last_id
        if order == "desc":
            await history.append(ALICE, made.id, [question(100 + len(seen))])
    assert seen == (items if order == "asc" else items[::-1])


async def test_ensuring_a_conversation_that_exists_changes_nothing(history: History) -> None:
    first = Conversation("conv_x", 1, {"title": "first"})
    await history.ensure(ALICE, first)
    await history.ensure(ALICE, Conversation("conv_x", 2, {"title": "second"}))
    assert await history.conversation(ALICE, "conv_x") == first


async def test_all_keys_of_a_user_share_a_hash_tag(history: History, redis: Redis) -> None:
    made = await history.create(ALICE, {})
    await history.append(ALICE, made.id, [question(1)])
    keys = await redis.keys()
    assert len(keys) == 3
    assert all(b"{user_a}" in key for key in keys)


async def test_a_redis_that_does_not_answer_is_named() -> None:
    async with Redis(port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
        with pytest.raises(Unavailable) as caught:
            await History(nowhere).ping()
    assert caught.value.dependency == "redis"
