"""Conversations, as `stored_conversation` reads them back."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.errors import NotFound, Unavailable
from gateway.protocol.resources import Conversation, Generation
from gateway.store.history.conversations import Conversations
from tests.gateway.builders import stored_keys
from tests.gateway.items import ABSENT, ALICE, BOB, MALFORMED_IDS, input_messages


async def test_a_conversation_is_read_back_as_it_was_created(conversations: Conversations) -> None:
    warm = Generation(temperature=1.5)
    made = await conversations.create(ALICE, {"title": "灯塔"}, generation=warm)
    assert await conversations.conversation(ALICE, made.id) == made
    assert (made.metadata, made.generation, made.last_active_at) == ({"title": "灯塔"}, warm, made.created_at)


async def test_a_conversation_may_begin_with_items(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {}, items=input_messages("one", "two"))
    await conversations.items.create(ALICE, made.id, input_messages("three"))
    page = await conversations.items.page(ALICE, made.id, limit=10, after=None, order="asc")
    assert [item.text for item in page.data] == ["one", "two", "three"]  # type: ignore[union-attr]


async def test_ensuring_a_conversation_that_exists_changes_nothing(conversations: Conversations) -> None:
    await conversations.ensure(ALICE, Conversation("conv_x", 1, {"title": "first"}))
    first = await conversations.conversation(ALICE, "conv_x")
    await conversations.ensure(ALICE, Conversation("conv_x", 2, {"title": "second"}))
    assert await conversations.conversation(ALICE, "conv_x") == first
    assert (first.created_at, first.metadata) == (1, {"title": "first"})


async def test_an_update_replaces_what_it_names_and_keeps_the_rest(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {"title": "old", "pinned": "1"}, generation=Generation(temperature=0.1))
    renamed = await conversations.update(ALICE, made.id, metadata={"title": "new"})
    assert (renamed.metadata, renamed.generation) == ({"title": "new"}, made.generation)
    warmer = await conversations.update(ALICE, made.id, generation=Generation(top_p=0.5))
    assert (warmer.metadata, warmer.generation) == ({"title": "new"}, Generation(top_p=0.5))
    assert await conversations.update(ALICE, made.id) == warmer
    assert (await conversations.update(ALICE, made.id, metadata={})).metadata == {}


async def test_an_update_does_not_count_as_activity(conversations: Conversations, redis: Redis) -> None:
    made = await conversations.create(ALICE, {})
    await redis.zadd("parley:{user_a}:conversations", {made.id: 5000})
    assert (await conversations.update(ALICE, made.id, metadata={"title": "new"})).last_active_at == 5


async def test_a_deleted_conversation_leaves_nothing_behind(conversations: Conversations, redis: Redis) -> None:
    made = await conversations.create(ALICE, {}, items=input_messages("one"))
    assert await conversations.delete(ALICE, made.id) == ()
    assert await stored_keys(redis) == []
    with pytest.raises(NotFound):
        await conversations.delete(ALICE, made.id)


async def test_concurrent_additions_get_positions_of_their_own(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {})
    pages = await asyncio.gather(
        *(
            conversations.items.create(ALICE, made.id, input_messages(f"{number}a", f"{number}b"))
            for number in range(25)
        )
    )
    found = await conversations.items.page(ALICE, made.id, limit=100, after=None, order="asc")
    texts = [item.text for item in found.data]  # type: ignore[union-attr]
    assert sorted(texts) == sorted(f"{number}{letter}" for number in range(25) for letter in "ab")
    assert all(second == first[:-1] + "b" for first, second in zip(texts[::2], texts[1::2], strict=True))
    assert {item.id for page in pages for item in page.data} == {item.id for item in found.data}


async def test_a_title_replaces_only_the_expected_one(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {"pinned": "1"})
    assert await conversations.retitle(ALICE, made.id, "first words…", instead_of="")
    assert not await conversations.retitle(ALICE, made.id, "other", instead_of="")
    assert await conversations.retitle(ALICE, made.id, "by the model", instead_of="first words…")
    assert not await conversations.retitle(ALICE, made.id, "late", instead_of="first words…")
    found = await conversations.conversation(ALICE, made.id)
    assert found.metadata == {"pinned": "1", "title": "by the model"}


async def test_full_metadata_gets_no_title(conversations: Conversations) -> None:
    full = {str(number): "" for number in range(16)}
    made = await conversations.create(ALICE, full)
    assert not await conversations.retitle(ALICE, made.id, "a title", instead_of="")
    assert (await conversations.conversation(ALICE, made.id)).metadata == full


@pytest.mark.parametrize("given", ["hers", ABSENT, *MALFORMED_IDS])
async def test_another_users_conversation_is_absent_for_every_request(
    conversations: Conversations, redis: Redis, given: str
) -> None:
    hers = await conversations.create(ALICE, {"title": "hers"}, items=input_messages("one"))
    item = (await conversations.items.page(ALICE, hers.id, limit=1, after=None, order="asc")).data[0]
    before = {key: await redis.dump(key) for key in await redis.keys()}
    asked = hers.id if given == "hers" else given
    for request in (
        conversations.conversation(BOB, asked),
        conversations.update(BOB, asked, metadata={"title": "his"}),
        conversations.retitle(BOB, asked, "his", instead_of="hers"),
        conversations.delete(BOB, asked),
        conversations.items.create(BOB, asked, input_messages("two")),
        conversations.items.page(BOB, asked, limit=1, after=None, order="asc"),
        conversations.items.item(BOB, asked, item.id),
        conversations.items.delete(BOB, asked, item.id),
    ):
        with pytest.raises(NotFound) as caught:
            await request
        assert (caught.value.message, caught.value.param) == ("no such conversation", "conversation_id")
    assert {key: await redis.dump(key) for key in await redis.keys()} == before


async def test_a_redis_that_does_not_reply_is_named() -> None:
    async with Redis(port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
        conversations = Conversations(nowhere)
        for request in (
            conversations.create(ALICE, {}),
            conversations.update(ALICE, ABSENT, metadata={}),
            conversations.index.page(ALICE, limit=1, after=None, order="desc"),
            conversations.items.create(ALICE, ABSENT, input_messages("one")),
        ):
            with pytest.raises(Unavailable) as caught:
                await request
            assert caught.value.dependency == "redis"
