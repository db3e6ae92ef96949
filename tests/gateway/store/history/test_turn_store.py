import asyncio
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.context.prompt import TokenCountCheckpoint
from gateway.errors import NotFound, StorageLimit, Unavailable
from gateway.inference import OutputOptions, Sampling
from gateway.protocol.ids import new_thread_id
from gateway.protocol.input_items import InputMessage
from gateway.protocol.items import Item
from gateway.protocol.resources import Generation
from gateway.store.history.conversations import Conversations
from gateway.store.history.responses import ResponseStore
from gateway.store.history.turn_store import TurnRecord, TurnStore
from gateway.turn.limits import MAX_ITEMS
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.state_machine import Turn, TurnRequest
from tests.gateway.builders import stored_keys
from tests.gateway.items import ABSENT, ALICE, BOB, answer, input_messages, question

KEPT_SECONDS = 1000


@pytest.fixture
def threads(redis: Redis) -> TurnStore:
    return TurnStore(redis, retention_seconds=KEPT_SECONDS)


@pytest.fixture
def conversations(redis: Redis) -> Conversations:
    return Conversations(redis)


@pytest.fixture
async def thread(conversations: Conversations) -> str:
    """A new conversation of Alice's."""
    return (await conversations.create(ALICE, {})).id


def turn(number: int, thread: str, position: int = 1, user: str = ALICE) -> TurnRequest:
    """What is asked stands before `position`, the answer from there on."""
    sampling = Sampling(temperature=0.45, top_p=0.9, repetition_penalty=1.2, max_output_tokens=None)
    return TurnRequest(
        f"resp_{number}", user, "m", sampling, OutputOptions(), created_at=1, position=position, thread=thread
    )


async def accept(threads: TurnStore, request: TurnRequest, *asked: Item, **more: Any) -> str:
    response = Turn(request).response("in_progress")
    return await threads.accept(TurnRecord(request, response, asked, owner="g1", **more))


async def commit(
    threads: TurnStore, request: TurnRequest, *answered: Item, measured: TokenCountCheckpoint | None = None
) -> None:
    outcome = Turn(request).response("completed")
    assert (
        await threads.commit(request.user_id, request.thread_id or "", outcome, answered, measured, owner="g1")
        != "lost"
    )


async def test_what_was_asked_and_answered_comes_back_in_order(threads: TurnStore, thread: str) -> None:
    reserved = await threads.reserve(ALICE, thread, 2)
    assert (reserved.before, reserved.position) == ([], 1)
    asked, answered = question(1, "你好 👋\u200d\n"), answer(2)
    await accept(threads, turn(1, thread), asked)
    await commit(threads, turn(1, thread), answered)
    assert (await threads.reserve(ALICE, thread, 2)).before == [asked, answered]


async def test_accepting_and_committing_again_changes_nothing(threads: TurnStore, thread: str) -> None:
    asked, answered = question(1), answer(2)
    for _ in range(2):
        await accept(threads, turn(1, thread), asked)
    for _ in range(2):
        await commit(threads, turn(1, thread), answered)
    assert (await threads.reserve(ALICE, thread, 2)).before == [asked, answered]


async def test_what_a_client_asks_under_one_id_is_accepted_once(threads: TurnStore, thread: str, redis: Redis) -> None:
    asked = {number: question(number) for number in range(1, 9)}
    accepted = await asyncio.gather(
        *(
            accept(threads, turn(number, thread, number + 1), one, idempotency_key="mine")
            for number, one in asked.items()
        )
    )
    (only,) = set(accepted)
    assert (await threads.reserve(ALICE, thread, 1)).before == [asked[int(only.removeprefix("resp_"))]]
    assert await redis.exists(*(f"parley:{{user_a}}:response:resp_{number}" for number in asked)) == 1
    assert await accept(threads, turn(9, thread), question(9), idempotency_key="another") == "resp_9"


async def test_two_turns_at_once_keep_each_question_beside_its_answer(threads: TurnStore, thread: str) -> None:
    reserved = await asyncio.gather(*(threads.reserve(ALICE, thread, 2) for _ in range(2)))
    first, second = sorted(one.position for one in reserved)
    items = [question(first, "1"), answer(first + 1, "1"), question(second, "2"), answer(second + 1, "2")]
    await accept(threads, turn(1, thread), items[0])
    await accept(threads, turn(2, thread), items[2])
    await commit(threads, turn(2, thread), items[3])
    await commit(threads, turn(1, thread), items[1])
    assert (await threads.reserve(ALICE, thread, 1)).before == items


async def test_an_answer_is_active_from_its_question_to_its_end(
    threads: TurnStore, conversations: Conversations, thread: str
) -> None:
    await accept(threads, turn(2, thread, 4), question(3))
    await accept(threads, turn(1, thread, 2), question(1))
    assert (await conversations.conversation(ALICE, thread)).active_responses == ("resp_1", "resp_2")
    await commit(threads, turn(1, thread, 2), answer(2))
    assert (await conversations.conversation(ALICE, thread)).active_responses == ("resp_2",)


async def test_of_a_long_conversation_the_most_recent_items_are_read_and_more_where_they_are_wanted(
    redis: Redis, thread: str
) -> None:
    threads = TurnStore(redis, retention_seconds=KEPT_SECONDS, recent_items=3)
    items = [one(2 * turn + place) for turn in range(4) for place, one in enumerate((question, answer), 1)]
    await accept(threads, turn(1, thread), *items)
    said = await threads.reserve(ALICE, thread, 1)
    assert (said.before, said.older) == (items[5:], 5)
    said = await threads.load_older(ALICE, thread, said, 2)
    assert (said.before, said.older) == (items[3:], 3)
    said = await threads.load_older(ALICE, thread, said, 100)
    assert (said.before, said.older) == (items, 0)


async def test_what_the_model_was_told_first_is_read_with_the_most_recent_items(
    threads: TurnStore, redis: Redis, conversations: Conversations
) -> None:
    first = [InputMessage("system" if number % 2 else "developer", f"{number}") for number in range(18)]
    within = (await conversations.create(ALICE, {}, items=[*first, *input_messages(*"abcdef")])).id
    whole = (await threads.reserve(ALICE, within, 1)).before
    said = await TurnStore(redis, retention_seconds=KEPT_SECONDS, recent_items=2).reserve(ALICE, within, 1)
    assert ([*said.head], said.before, said.older) == (whole[:18], whole[-2:], 4)
    said = await threads.load_older(ALICE, within, said, 3)
    assert (said.before, said.older) == (whole[-5:], 1)
    said = await threads.load_older(ALICE, within, said, 3)
    assert ([*said.head, *said.before], said.older) == (whole, 0)


async def test_what_was_deleted_between_two_reads_is_waited_for_by_nobody(redis: Redis, thread: str) -> None:
    threads = TurnStore(redis, retention_seconds=KEPT_SECONDS, recent_items=1)
    items = [question(1), question(2), question(3)]
    await accept(threads, turn(1, thread), *items)
    said = await threads.reserve(ALICE, thread, 1)
    await Conversations(redis).items.delete(ALICE, thread, items[0].id)
    said = await threads.load_older(ALICE, thread, said, 2)
    assert (said.before, said.older) == (items[1:], 0)


async def test_no_more_items_are_accepted_than_are_kept(threads: TurnStore, thread: str) -> None:
    await threads.reserve(ALICE, thread, MAX_OUTPUT_ITEMS + MAX_ITEMS - 1)
    with pytest.raises(StorageLimit):
        await threads.reserve(ALICE, thread, MAX_OUTPUT_ITEMS + MAX_ITEMS)
    await accept(threads, turn(1, thread), question(1))
    with pytest.raises(StorageLimit):
        await threads.reserve(ALICE, thread, MAX_OUTPUT_ITEMS + MAX_ITEMS - 1)


async def test_a_turn_learns_what_is_set_for_its_conversation(threads: TurnStore, conversations: Conversations) -> None:
    pirate = Generation(instructions="Speak as a pirate.", temperature=0.1)
    titled = (await conversations.create(ALICE, {"title": "Sea"}, generation=pirate)).id
    reserved = await threads.reserve(ALICE, titled, 2)
    assert (reserved.generation, reserved.titled, reserved.measured) == (pirate, True, None)
    untitled = (await conversations.create(ALICE, {})).id
    assert (await threads.reserve(ALICE, untitled, 2)).titled is False


async def test_the_count_of_a_prompt_is_there_for_the_next_turn(threads: TurnStore, thread: str) -> None:
    measured = TokenCountCheckpoint(tokens=20, limit=4096, items=2, last=2, shape="s")
    await accept(threads, turn(1, thread), question(1))
    await commit(threads, turn(1, thread), answer(2), measured=measured)
    assert (await threads.reserve(ALICE, thread, 2)).measured == measured


async def test_what_comes_behind_a_position_is_not_read(threads: TurnStore, thread: str) -> None:
    items = [question(1), answer(2), question(3)]
    await accept(threads, turn(1, thread), *items)
    assert await threads.read(ALICE, thread, 2) == items[:2]


async def test_an_accepted_response_is_found_with_what_was_asked(threads: TurnStore, redis: Redis, thread: str) -> None:
    asked = question(1)
    await accept(threads, turn(1, thread, 2), asked)
    stored = await ResponseStore(redis).get(ALICE, "resp_1")
    assert (stored.input, stored.thread, stored.owner, stored.has_ended) == ((asked,), thread, "g1", False)
    await commit(threads, turn(1, thread, 2), answer(2))
    assert (await ResponseStore(redis).get(ALICE, "resp_1")).has_ended
    with pytest.raises(NotFound):
        await ResponseStore(redis).get(BOB, "resp_1")


async def test_a_foreign_conversation_is_absent_and_asking_for_one_leaves_nothing(
    threads: TurnStore, redis: Redis, thread: str
) -> None:
    before = set(await stored_keys(redis))
    for absent in (thread, ABSENT):
        with pytest.raises(NotFound):
            await threads.reserve(BOB, absent, 2)
        with pytest.raises(NotFound):
            await accept(threads, turn(1, absent, user=BOB), question(1))
    assert set(await stored_keys(redis)) == before


async def test_a_turn_that_ends_later_does_not_bring_a_deleted_conversation_back(
    threads: TurnStore, conversations: Conversations, redis: Redis, thread: str
) -> None:
    await accept(threads, turn(1, thread), question(1))
    assert await conversations.delete(ALICE, thread) == ("resp_1",)
    await commit(threads, turn(1, thread), answer(2))
    assert await stored_keys(redis) == []


@pytest.mark.parametrize("place", ["a chain", "a conversation"])
async def test_an_answer_kept_again_does_not_bring_its_deleted_response_back(
    threads: TurnStore, redis: Redis, thread: str, place: str
) -> None:
    request = turn(1, thread if place == "a conversation" else new_thread_id())
    responses = ResponseStore(redis)
    await accept(threads, request, question(1))
    answered = answer(2)
    outcome = msgspec.structs.replace(Turn(request).response("completed"), output=(answered,))
    assert await threads.commit(ALICE, request.thread_id or "", outcome, (answered,), None, owner="g1") == "kept"
    await responses.delete(ALICE, await responses.get(ALICE, "resp_1"))
    left = {key: await redis.dump(key) for key in await stored_keys(redis)}
    # The word that it was kept was lost: it is kept once more.
    assert await threads.commit(ALICE, request.thread_id or "", outcome, (answered,), None, owner="g1") == "gone"
    assert {key: await redis.dump(key) for key in await stored_keys(redis)} == left


async def test_a_chain_outside_a_conversation_expires_with_its_response(threads: TurnStore, redis: Redis) -> None:
    chain = turn(1, new_thread_id(), 3)
    copied, asked, answered = question(1), question(2), answer(3)
    await accept(threads, chain, asked, before=[copied])
    await commit(threads, chain, answered)
    assert (await threads.reserve(ALICE, chain.thread or "", 1)).before == [copied, asked, answered]
    keys = await stored_keys(redis)
    assert len(keys) == 3
    lives = [await redis.ttl(key) for key in keys]
    assert all(0 < seconds <= KEPT_SECONDS for seconds in lives)


async def test_all_keys_of_a_user_share_a_hash_tag(threads: TurnStore, redis: Redis, thread: str) -> None:
    await accept(threads, turn(1, thread), question(1), idempotency_key="mine")
    keys = await stored_keys(redis)
    assert len(keys) == 6
    assert all(b"{user_a}" in key for key in keys)


async def test_a_redis_that_does_not_answer_is_named() -> None:
    async with Redis(port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
        with pytest.raises(Unavailable) as caught:
            await TurnStore(nowhere, retention_seconds=KEPT_SECONDS).reserve(ALICE, ABSENT, 2)
    assert caught.value.dependency == "redis"
