import pytest
from redis.asyncio import Redis

from gateway.errors import NotFound, StorageLimit
from gateway.protocol.ids import new_item_id, position_in
from gateway.protocol.items import Item, text_of
from gateway.protocol.resources import Order
from gateway.store.history import item_ranges
from gateway.store.history.conversations import Conversations
from gateway.store.history.history_reader import HistoryReader
from gateway.turn.limits import MAX_ITEMS
from tests.gateway.items import ALICE, input_messages


async def everything(conversations: Conversations, conversation_id: str) -> list[Item]:
    page = await conversations.items.page(ALICE, conversation_id, limit=100, after=None, order="asc")
    return list(page.data)


async def test_added_items_are_returned_as_a_list_and_are_the_last(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {}, items=input_messages("one"))
    added = await conversations.items.create(ALICE, made.id, input_messages("two", "three"))
    assert (added.object, added.first_id, added.last_id) == ("list", added.data[0].id, added.data[1].id)
    assert added.has_more is False
    assert (await everything(conversations, made.id))[1:] == list(added.data)


async def test_adding_an_item_is_activity(conversations: Conversations, redis: Redis) -> None:
    made = await conversations.create(ALICE, {})
    await redis.zadd("parley:{user_a}:conversations", {made.id: 5000})
    await conversations.items.create(ALICE, made.id, input_messages("one"))
    active_at = (await conversations.conversation(ALICE, made.id)).last_active_at
    assert active_at is not None
    assert active_at >= made.created_at


async def test_an_added_item_never_takes_a_reserved_position(conversations: Conversations, redis: Redis) -> None:
    made = await conversations.create(ALICE, {})
    reserved = await HistoryReader(redis).reserve(ALICE, made.id, 2)
    added = await conversations.items.create(ALICE, made.id, input_messages("later"))
    assert position_in(added.data[0].id) == reserved.next_position + 2


async def test_items_beyond_the_limit_are_refused(conversations: Conversations, redis: Redis) -> None:
    made = await conversations.create(ALICE, {})
    items_key = f"parley:{{user_a}}:conversation:{made.id}:items"
    await redis.zadd(items_key, {str(position): position for position in range(MAX_ITEMS - 1)})
    with pytest.raises(StorageLimit):
        await conversations.items.create(ALICE, made.id, input_messages("one", "two"))
    assert await redis.zcard(items_key) == MAX_ITEMS - 1
    await conversations.items.create(ALICE, made.id, input_messages("one"))


async def test_an_item_is_retrieved_and_deleted_by_its_id(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {"title": "t"}, items=input_messages("one", "two"))
    one, two = await everything(conversations, made.id)
    assert await conversations.items.item(ALICE, made.id, two.id) == two
    assert await conversations.items.delete(ALICE, made.id, two.id) == made
    assert await everything(conversations, made.id) == [one]


async def test_an_absent_item_is_not_found(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {}, items=input_messages("one"))
    one = (await everything(conversations, made.id))[0]
    elsewhere = await conversations.create(ALICE, {}, items=input_messages("two"))
    foreign = (await everything(conversations, elsewhere.id))[0]
    for item_id in (foreign.id, new_item_id("msg", 7), new_item_id("fc", 1), "msg_1", one.id.upper(), ""):
        for request in (
            conversations.items.item(ALICE, made.id, item_id),
            conversations.items.delete(ALICE, made.id, item_id),
        ):
            with pytest.raises(NotFound) as caught:
                await request
            assert (caught.value.message, caught.value.param) == ("no such item", "item_id")
    assert await everything(conversations, made.id) == [one]


async def test_an_item_is_deleted_once(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {}, items=input_messages("one"))
    one = (await everything(conversations, made.id))[0]
    await conversations.items.delete(ALICE, made.id, one.id)
    with pytest.raises(NotFound):
        await conversations.items.delete(ALICE, made.id, one.id)


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_items_are_paged_without_gaps_or_duplicates_while_more_arrive(
    conversations: Conversations, order: Order
) -> None:
    made = await conversations.create(ALICE, {}, items=input_messages(*"1234567"))
    before = await everything(conversations, made.id)
    seen: list[Item] = []
    after, more = None, True
    while more:
        page = await conversations.items.page(ALICE, made.id, limit=3, after=after, order=order)
        seen += page.data
        after, more = page.last_id, page.has_more
        if order == "desc":
            await conversations.items.create(ALICE, made.id, input_messages("new"))
    assert seen == (before if order == "asc" else before[::-1])


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_page_of_long_items_ends_early_and_the_next_one_continues(
    conversations: Conversations, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_ranges, "READ_BYTES", 10_000)
    made = await conversations.create(ALICE, {}, items=input_messages(*(f"{n} " + "x" * 2000 for n in range(20))))
    sizes: list[int] = []
    texts: list[str] = []
    after, more = None, True
    while more:
        page = await conversations.items.page(ALICE, made.id, limit=100, after=after, order=order)
        sizes.append(len(page.data))
        texts += [text_of(item).partition(" ")[0] for item in page.data]
        after, more = page.last_id, page.has_more
    assert sizes == [8, 8, 4]
    assert texts == [str(n) for n in (range(20) if order == "asc" else range(19, -1, -1))]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_page_starts_after_an_item_that_was_deleted_meanwhile(
    conversations: Conversations, order: Order
) -> None:
    made = await conversations.create(ALICE, {}, items=input_messages(*"12345"))
    first = await conversations.items.page(ALICE, made.id, limit=3, after=None, order=order)
    assert first.last_id is not None
    await conversations.items.delete(ALICE, made.id, first.last_id)
    rest = await conversations.items.page(ALICE, made.id, limit=3, after=first.last_id, order=order)
    positions = [position_in(item.id) for item in rest.data]
    assert (positions, rest.has_more) == ([4, 5] if order == "asc" else [2, 1], False)


async def test_an_empty_conversation_has_an_empty_page(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {})
    page = await conversations.items.page(ALICE, made.id, limit=3, after=None, order="asc")
    assert (page.data, page.first_id, page.last_id, page.has_more) == ((), None, None, False)


async def test_a_malformed_after_is_not_found(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {}, items=input_messages("one"))
    with pytest.raises(NotFound) as caught:
        await conversations.items.page(ALICE, made.id, limit=3, after="(1", order="asc")
    assert caught.value.param == "after"
