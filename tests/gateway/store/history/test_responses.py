"""A stored response contains none of its items; those of earlier versions do."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.protocol.create import ResponseCreate
from gateway.protocol.items import text_of
from gateway.protocol.resources import encoded
from gateway.store.history.conversations import Conversations
from gateway.store.history.responses import ResponseStore
from gateway.store.history.turn_store import TurnStore
from gateway.turn.records import StoredResponse, content_digest
from tests.gateway.items import ALICE, answer, question
from tests.gateway.replica import FakeEngine, Replica, collect_events, replica, text_stream
from tests.gateway.store.history.stored_turns import accept, commit, commit_record, turn

KEY = "parley:{user_a}:response:resp_1"


@pytest.fixture
def responses(redis: Redis) -> ResponseStore:
    return ResponseStore(redis)


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream("fine"))) as found:
        yield found


def texts(stored: StoredResponse) -> list[str]:
    return [text_of(item) for item in (*stored.input, *stored.response.output)]


async def test_the_items_of_an_ended_response_are_stored_once(
    turns: TurnStore, responses: ResponseStore, redis: Redis, thread: str
) -> None:
    asked, answered = question(1, "the question"), answer(2, "the answer")
    await accept(turns, turn(1, thread, 2), asked)
    assert (await responses.get(ALICE, "resp_1")).input == (asked,)
    await commit(turns, turn(1, thread, 2), answered)
    stored = await responses.get(ALICE, "resp_1")
    assert (stored.input, stored.response.output) == ((asked,), (answered,))
    assert not any(b"the question" in value or b"the answer" in value for value in await redis.hvals(KEY))


async def test_a_response_without_its_items_is_found_in_one_round_trip(
    turns: TurnStore, responses: ResponseStore, thread: str
) -> None:
    await accept(turns, turn(1, thread, 2), question(1))
    await commit(turns, turn(1, thread, 2), answer(2))
    found = await responses.find(ALICE, "resp_1")
    assert (found.has_ended, found.response.output, found.first_position, found.last_position) == (True, (), 1, 129)


async def test_neighbours_in_a_conversation_have_their_own_items(
    turns: TurnStore, responses: ResponseStore, thread: str
) -> None:
    first, second = turn(1, thread, 2), turn(2, thread, 132)
    await accept(turns, first, question(1, "1"))
    await accept(turns, second, question(130, "2"), question(131, "3"))
    await commit(turns, second, answer(132, "4"), answer(133, "5"))
    await commit(turns, first, answer(2, "6"))
    assert texts(await responses.get(ALICE, "resp_1")) == ["1", "6"]
    assert texts(await responses.get(ALICE, "resp_2")) == ["2", "3", "4", "5"]


@pytest.mark.parametrize("deleted", [0, 1], ids=["the question", "the answer"])
async def test_a_deleted_item_disappears_from_its_response_and_its_events(gateway: Replica, deleted: int) -> None:
    within = await gateway.create_conversation()
    running = await gateway.begin_turn(ResponseCreate(input="go", conversation=within))
    await collect_events(running)
    await gateway.registry.finish(5)
    response_id = running.request.response_id
    items = Conversations(gateway.redis).items
    page = await items.page("user_1", within, limit=9, after=None, order="asc")
    await items.delete("user_1", within, page.data[deleted].id)
    assert texts(await gateway.responses.get("user_1", response_id)) == [["go", "fine"][1 - deleted]]
    assert await gateway.reader.exists("user_1", response_id) == (deleted == 0)


async def test_a_repeated_request_is_recognised_after_its_question_was_deleted(gateway: Replica) -> None:
    within = await gateway.create_conversation()
    create = ResponseCreate(input="go", conversation=within)
    started = await gateway.turns.start("user_1", create, idempotency_key="mine")
    await gateway.registry.finish(5)
    items = Conversations(gateway.redis).items
    page = await items.page("user_1", within, limit=9, after=None, order="asc")
    await items.delete("user_1", within, page.data[0].id)
    assert (await gateway.turns.start("user_1", create, idempotency_key="mine")).response_id == started.response_id


async def test_a_response_of_an_earlier_version_is_read_and_deleted_as_it_is(
    turns: TurnStore, responses: ResponseStore, redis: Redis
) -> None:
    asked, answered = question(1), answer(2)
    request = turn(1, "thread_a", 2)
    await accept(turns, request, asked)
    await redis.hdel(KEY, "first", "digest")
    await commit(turns, request, answered)  # taken over by this version
    assert await redis.hget(KEY, "response") == encoded(commit_record(request, answered).response)
    stored = await responses.get(ALICE, "resp_1")
    assert (stored.input, stored.response.output) == ((asked,), (answered,))
    assert (stored.input_digest, stored.first_position) == (content_digest([question(7)]), 1)
    await responses.delete(ALICE, stored)
    assert await redis.keys("*thread_a*") == []
