"""What a turn stores, what its transactions depend on (`watched_turn`), and what `responses` reads of it."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.errors import NotFound, Unavailable
from gateway.protocol.ids import new_thread_id
from gateway.store.history.conversations import Conversations
from gateway.store.history.history_reader import HistoryReader
from gateway.store.history.responses import ResponseStore
from gateway.store.history.turn_store import TurnStore
from gateway.turn.records import CommitResult
from tests.gateway.builders import stored_keys
from tests.gateway.items import ABSENT, ALICE, BOB, answer, question
from tests.gateway.store.history.stored_turns import RETENTION_SECONDS, accept, commit, commit_record, turn, whole


async def test_the_question_and_the_answer_are_read_back_in_order(
    turns: TurnStore, reader: HistoryReader, thread: str
) -> None:
    reserved = await reader.reserve(ALICE, thread, 2)
    assert (reserved.items, reserved.next_position) == ([], 1)
    asked, answered = question(1, "你好 👋\u200d\n"), answer(2)
    await accept(turns, turn(1, thread), asked)
    await commit(turns, turn(1, thread), answered)
    assert (await reader.reserve(ALICE, thread, 2)).items == [asked, answered]


async def test_accepting_and_committing_again_changes_nothing(
    turns: TurnStore, reader: HistoryReader, thread: str
) -> None:
    asked, answered = question(1), answer(2)
    for _ in range(2):
        await accept(turns, turn(1, thread), asked)
    for _ in range(2):
        await commit(turns, turn(1, thread), answered)
    assert (await reader.reserve(ALICE, thread, 2)).items == [asked, answered]


async def test_a_question_with_an_idempotency_key_is_accepted_once(
    turns: TurnStore, reader: HistoryReader, thread: str, redis: Redis
) -> None:
    asked = {number: question(number) for number in range(1, 9)}
    accepted = await asyncio.gather(
        *(accept(turns, turn(number, thread, number + 1), one, idempotency_key="mine") for number, one in asked.items())
    )
    (only,) = set(accepted)
    assert (await reader.reserve(ALICE, thread, 1)).items == [asked[int(only.removeprefix("resp_"))]]
    assert await redis.exists(*(f"parley:{{user_a}}:response:resp_{number}" for number in asked)) == 1
    assert await accept(turns, turn(9, thread), question(9), idempotency_key="another") == "resp_9"


async def test_two_turns_at_once_store_each_question_beside_its_answer(
    turns: TurnStore, reader: HistoryReader, thread: str
) -> None:
    reserved = await asyncio.gather(*(reader.reserve(ALICE, thread, 2) for _ in range(2)))
    first, second = sorted(one.next_position for one in reserved)
    items = [question(first, "1"), answer(first + 1, "1"), question(second, "2"), answer(second + 1, "2")]
    await accept(turns, turn(1, thread), items[0])
    await accept(turns, turn(2, thread), items[2])
    await commit(turns, turn(2, thread), items[3])
    await commit(turns, turn(1, thread), items[1])
    assert (await reader.reserve(ALICE, thread, 1)).items == items


async def test_a_response_is_active_from_its_question_to_its_end(
    turns: TurnStore, conversations: Conversations, thread: str
) -> None:
    await accept(turns, turn(2, thread, 4), question(3))
    await accept(turns, turn(1, thread, 2), question(1))
    assert (await conversations.conversation(ALICE, thread)).active_responses == ("resp_1", "resp_2")
    await commit(turns, turn(1, thread, 2), answer(2))
    assert (await conversations.conversation(ALICE, thread)).active_responses == ("resp_2",)


async def test_an_accepted_response_is_found_with_its_input(turns: TurnStore, redis: Redis, thread: str) -> None:
    asked = question(1)
    await accept(turns, turn(1, thread, 2), asked)
    stored = await ResponseStore(redis).get(ALICE, "resp_1")
    assert (stored.input, stored.thread_id, stored.owner, stored.has_ended) == ((asked,), thread, "g1", False)
    await commit(turns, turn(1, thread, 2), answer(2))
    assert (await ResponseStore(redis).get(ALICE, "resp_1")).has_ended
    with pytest.raises(NotFound):
        await ResponseStore(redis).get(BOB, "resp_1")


async def test_a_turn_in_a_foreign_or_absent_conversation_is_refused_and_stores_nothing(
    turns: TurnStore, redis: Redis, thread: str
) -> None:
    before = set(await stored_keys(redis))
    for absent in (thread, ABSENT):
        with pytest.raises(NotFound):
            await accept(turns, turn(1, absent, user=BOB), question(1))
    assert set(await stored_keys(redis)) == before


async def test_a_turn_that_ends_later_does_not_restore_a_deleted_conversation(
    turns: TurnStore, conversations: Conversations, redis: Redis, thread: str
) -> None:
    await accept(turns, turn(1, thread), question(1))
    assert await conversations.delete(ALICE, thread) == ("resp_1",)
    await commit(turns, turn(1, thread), answer(2))
    assert await stored_keys(redis) == []


@pytest.mark.parametrize("place", ["a chain", "a conversation"])
async def test_an_answer_committed_again_does_not_restore_its_deleted_response(
    turns: TurnStore, redis: Redis, thread: str, place: str
) -> None:
    request = turn(1, thread if place == "a conversation" else new_thread_id())
    responses = ResponseStore(redis)
    await accept(turns, request, question(1))
    record = commit_record(request, answer(2))
    assert await turns.commit(record) is CommitResult.COMMITTED
    await responses.delete(ALICE, await responses.get(ALICE, "resp_1"))
    left = {key: await redis.dump(key) for key in await stored_keys(redis)}
    # As after a reply of Redis that was lost.
    assert await turns.commit(record) is CommitResult.DELETED
    assert {key: await redis.dump(key) for key in await stored_keys(redis)} == left


async def test_a_chain_outside_a_conversation_expires_with_its_response(
    turns: TurnStore, reader: HistoryReader, redis: Redis
) -> None:
    chain = turn(1, new_thread_id(), 2)
    asked, answered = question(1), answer(2)
    await accept(turns, chain, asked)
    await commit(turns, chain, answered)
    assert await whole(reader, chain) == [asked, answered]
    keys = await stored_keys(redis)
    assert len(keys) == 4
    lives = [await redis.ttl(key) for key in keys]
    assert all(0 < seconds <= RETENTION_SECONDS for seconds in lives)


async def test_all_keys_of_a_user_share_a_hash_tag(turns: TurnStore, redis: Redis, thread: str) -> None:
    await accept(turns, turn(1, thread), question(1), idempotency_key="mine")
    keys = await stored_keys(redis)
    assert len(keys) == 6
    assert all(b"{user_a}" in key for key in keys)


async def test_a_redis_that_does_not_reply_is_named() -> None:
    async with Redis(port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
        turns = TurnStore(nowhere, retention_seconds=RETENTION_SECONDS)
        for request in (accept(turns, turn(1, new_thread_id()), question(1)), turns.find_accepted(ALICE, "mine")):
            with pytest.raises(Unavailable) as caught:
                await request
            assert caught.value.dependency == "redis"
