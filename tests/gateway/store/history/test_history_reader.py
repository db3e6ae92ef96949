"""What a turn continues from, with the ranges of `item_ranges`."""

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.context.prompt import TokenCountCheckpoint
from gateway.errors import ContextLengthExceeded, NotFound, StorageLimit, Unavailable
from gateway.protocol.input_items import InputMessage
from gateway.protocol.resources import Generation
from gateway.store.history import history_reader, item_ranges
from gateway.store.history.conversations import Conversations
from gateway.store.history.history_reader import HistoryReader
from gateway.store.history.turn_store import TurnStore
from gateway.turn.limits import MAX_ITEMS
from gateway.turn.output import MAX_OUTPUT_ITEMS
from tests.gateway.builders import stored_keys
from tests.gateway.items import ABSENT, ALICE, BOB, answer, input_messages, question
from tests.gateway.store.history.stored_turns import accept, commit, turn


async def test_a_long_conversation_is_read_from_its_most_recent_items_back(
    redis: Redis, turns: TurnStore, thread: str
) -> None:
    reader = HistoryReader(redis, recent_items=3)
    items = [one(2 * turn + place) for turn in range(4) for place, one in enumerate((question, answer), 1)]
    await reader.reserve(ALICE, thread, len(items))
    await accept(turns, turn(1, thread), *items)
    snapshot = await reader.reserve(ALICE, thread, 1)
    assert (snapshot.items, snapshot.older_count) == (items[5:], 5)
    snapshot = await reader.load_older(ALICE, snapshot, 2)
    assert (snapshot.items, snapshot.older_count) == (items[3:], 3)
    snapshot = await reader.load_older(ALICE, snapshot, 100)
    assert (snapshot.items, snapshot.older_count) == (items, 0)


async def test_instructions_at_the_beginning_are_read_with_the_most_recent_items(
    reader: HistoryReader, redis: Redis, conversations: Conversations
) -> None:
    first = [InputMessage("system" if number % 2 else "developer", f"{number}") for number in range(18)]
    within = (await conversations.create(ALICE, {}, items=[*first, *input_messages(*"abcdef")])).id
    whole = (await reader.reserve(ALICE, within, 1)).items
    snapshot = await HistoryReader(redis, recent_items=2).reserve(ALICE, within, 1)
    assert ([*snapshot.head], snapshot.items, snapshot.older_count) == (whole[:18], whole[-2:], 4)
    snapshot = await reader.load_older(ALICE, snapshot, 3)
    assert (snapshot.items, snapshot.older_count) == (whole[-5:], 1)
    snapshot = await reader.load_older(ALICE, snapshot, 3)
    assert ([*snapshot.head, *snapshot.items], snapshot.older_count) == (whole, 0)


async def test_items_deleted_between_two_reads_are_not_expected_any_more(
    redis: Redis, turns: TurnStore, thread: str
) -> None:
    reader = HistoryReader(redis, recent_items=1)
    items = [question(1), question(2), question(3)]
    await reader.reserve(ALICE, thread, len(items))
    await accept(turns, turn(1, thread), *items)
    snapshot = await reader.reserve(ALICE, thread, 1)
    await Conversations(redis).items.delete(ALICE, thread, items[0].id)
    snapshot = await reader.load_older(ALICE, snapshot, 2)
    assert (snapshot.items, snapshot.older_count) == (items[1:], 0)


async def test_a_turn_that_would_exceed_the_item_limit_is_refused(
    reader: HistoryReader, turns: TurnStore, thread: str
) -> None:
    await reader.reserve(ALICE, thread, MAX_OUTPUT_ITEMS + MAX_ITEMS - 1)
    with pytest.raises(StorageLimit):
        await reader.reserve(ALICE, thread, MAX_OUTPUT_ITEMS + MAX_ITEMS)
    await accept(turns, turn(1, thread), question(1))
    with pytest.raises(StorageLimit):
        await reader.reserve(ALICE, thread, MAX_OUTPUT_ITEMS + MAX_ITEMS - 1)


async def test_a_turn_gets_the_settings_of_its_conversation(
    reader: HistoryReader, conversations: Conversations
) -> None:
    pirate = Generation(instructions="Speak as a pirate.", temperature=0.1)
    titled = (await conversations.create(ALICE, {"title": "Sea"}, generation=pirate)).id
    reserved = await reader.reserve(ALICE, titled, 2)
    assert (reserved.generation, reserved.has_title, reserved.checkpoint) == (pirate, True, None)
    untitled = (await conversations.create(ALICE, {})).id
    assert (await reader.reserve(ALICE, untitled, 2)).has_title is False


async def test_the_token_count_of_a_prompt_is_stored_for_the_next_turn(
    reader: HistoryReader, turns: TurnStore, thread: str
) -> None:
    checkpoint = TokenCountCheckpoint(20, 4096, item_count=2, last_position=2, prompt_digest="s")
    await accept(turns, turn(1, thread), question(1))
    await commit(turns, turn(1, thread), answer(2), checkpoint=checkpoint)
    assert (await reader.reserve(ALICE, thread, 2)).checkpoint == checkpoint


async def test_items_after_the_last_position_are_not_read(reader: HistoryReader, turns: TurnStore, thread: str) -> None:
    items = [question(1), answer(2), question(3)]
    await accept(turns, turn(1, thread), *items)
    assert await reader.read(ALICE, await reader.open(ALICE, thread, 2)) == items[:2]


async def test_a_foreign_conversation_is_absent_and_reserving_in_one_stores_nothing(
    reader: HistoryReader, redis: Redis, thread: str
) -> None:
    before = set(await stored_keys(redis))
    for absent in (thread, ABSENT):
        with pytest.raises(NotFound):
            await reader.reserve(BOB, absent, 2)
    assert set(await stored_keys(redis)) == before


async def test_a_redis_that_does_not_reply_is_named() -> None:
    async with Redis(port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
        with pytest.raises(Unavailable) as caught:
            await HistoryReader(nowhere).reserve(ALICE, ABSENT, 2)
    assert caught.value.dependency == "redis"


async def test_of_long_items_fewer_are_read_at_once(
    redis: Redis, turns: TurnStore, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = HistoryReader(redis)
    items = [question(number, "x" * 1000) for number in range(1, 48)]
    await reader.reserve(ALICE, thread, len(items))
    await accept(turns, turn(1, thread), *items)
    monkeypatch.setattr(item_ranges, "READ_BYTES", 10_000)
    monkeypatch.setattr(history_reader, "READ_BYTES", 10_000)
    snapshot = await reader.reserve(ALICE, thread, 1)
    assert (snapshot.items, snapshot.older_count) == (items[-24:], 23)
    assert 24 * 1000 < snapshot.read_bytes < 24 * 1200
    snapshot = await reader.load_older(ALICE, snapshot, 100)
    assert (snapshot.items, snapshot.older_count) == (items[-40:], 7)
    snapshot = await reader.load_older(ALICE, snapshot, 100)
    assert (snapshot.items, snapshot.older_count) == (items, 0)


async def test_a_thread_is_read_back_as_far_as_a_request_ever_reads(
    conversations: Conversations, reader: HistoryReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [InputMessage("system", "be brief"), *input_messages(*("x" * 1000 for _ in range(40)))]
    thread = (await conversations.create(ALICE, {}, items=texts)).id
    whole = await reader.read(ALICE, await reader.open(ALICE, thread, 41))
    monkeypatch.setattr(item_ranges, "READ_BYTES", 5_000)
    monkeypatch.setattr(history_reader, "MAX_READ_BYTES", 20_000)
    snapshot = await reader.read_until(ALICE, thread, 31)
    assert [*snapshot.head, *snapshot.items] == [whole[0], *whole[7:31]]
    assert (snapshot.older_count, snapshot.next_position) == (6, 32)


async def test_instructions_longer_than_any_model_reads_are_refused(
    conversations: Conversations, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [InputMessage("system", "x" * 1000) for _ in range(40)]
    thread = (await conversations.create(ALICE, {}, items=texts)).id
    monkeypatch.setattr(item_ranges, "MAX_READ_BYTES", 10_000)
    with pytest.raises(ContextLengthExceeded):
        await HistoryReader(redis, recent_items=1).reserve(ALICE, thread, 1)
