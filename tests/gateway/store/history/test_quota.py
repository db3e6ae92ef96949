"""What one user may store: reserved before it is added, refunded when it is deleted, looked for when it may have
expired (`expired_sizes`), and measured once where an earlier version counted (`earlier_sizes`)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.errors import StorageLimit, Unavailable
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_thread_id
from gateway.protocol.input_items import InputMessage
from gateway.protocol.resources import Conversation, Generation
from gateway.store.history.conversations import Conversations
from gateway.store.history.quota import StorageQuota
from gateway.store.history.responses import ResponseStore
from gateway.store.history.sizes import RUNNING_ANSWER, THREAD, TURN_CONTEXT
from gateway.store.history.turn_store import TurnStore
from gateway.turn.records import TurnRecord
from gateway.turn.turn_request import TurnRequest
from tests.gateway.builders import connection
from tests.gateway.items import answer
from tests.gateway.replica import FakeEngine, Replica, replica, text_stream
from tests.gateway.store.history.stored_turns import accept, commit, turn

USER = "user_1"
QUOTA = f"parley:{{{USER}}}:quota"
LIMIT = 2**20
LONG = InputMessage("user", "x" * 100_000)


@pytest.fixture
def quota(redis: Redis) -> StorageQuota:
    return StorageQuota(redis, max_bytes=LIMIT)


@pytest.fixture
def conversations(redis: Redis, quota: StorageQuota) -> Conversations:
    return Conversations(redis, quota)


class Bounded(TurnStore):
    """Of a gateway with the limit of these tests."""

    def __init__(self, redis: Redis, *, retention_seconds: int) -> None:
        super().__init__(redis, retention_seconds=retention_seconds, quota=StorageQuota(redis, max_bytes=LIMIT))


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream("fine")), store=Bounded) as found:
        yield found


async def fields(redis: Redis) -> dict[str, str]:
    found: Any = await redis.hgetall(QUOTA)
    return {name.decode(): value.decode() for name, value in found.items()}


async def counted(redis: Redis) -> int:
    """Also checks that the total is that of its parts."""
    parts = await fields(redis)
    total = int(parts.pop("*", "0"))
    assert total == sum(int(value.split()[0]) for value in parts.values())
    return total


async def filled(conversations: Conversations) -> list[str]:
    """The conversations that fit."""
    made: list[str] = []
    while True:
        try:
            made.append((await conversations.create(USER, {}, items=[LONG])).id)
        except StorageLimit:
            return made


async def test_a_user_at_the_limit_is_refused_and_others_are_not(conversations: Conversations, redis: Redis) -> None:
    made = await filled(conversations)
    assert len(made) == LIMIT // 114_300
    with pytest.raises(StorageLimit, match="delete some of them"):
        await conversations.items.create(USER, made[0], [LONG])
    assert await counted(redis) <= LIMIT
    await conversations.create("user_2", {}, items=[LONG])


async def test_the_instructions_of_conversations_count(conversations: Conversations) -> None:
    long = Generation(instructions="x" * 60_000)
    for _ in range(LIMIT // 69_100):
        await conversations.create(USER, {}, generation=long)
    with pytest.raises(StorageLimit):
        await conversations.create(USER, {}, generation=long)


async def test_an_update_counts_by_what_it_changes(conversations: Conversations, redis: Redis) -> None:
    made = await filled(conversations)
    long = Generation(instructions="x" * 60_000)
    with pytest.raises(StorageLimit):
        await conversations.update(USER, made[0], generation=long)
    assert (await conversations.conversation(USER, made[0])).generation == Generation()
    await conversations.delete(USER, made[1])
    before = await counted(redis)
    await conversations.update(USER, made[0], generation=long)
    assert before + 60_000 < await counted(redis) < before + 70_000
    await conversations.update(USER, made[0], generation=long)
    assert before + 60_000 < await counted(redis) < before + 70_000
    await conversations.update(USER, made[0], generation=Generation())
    assert await counted(redis) == before


async def test_concurrent_updates_are_counted_as_the_one_that_stays(conversations: Conversations, redis: Redis) -> None:
    made = await conversations.create(USER, {})
    before = await counted(redis)
    await asyncio.gather(
        *(conversations.update(USER, made.id, metadata={"a": "灯" * 400 * (number % 3)}) for number in range(20))
    )
    await conversations.update(USER, made.id, metadata={})
    assert await counted(redis) == before


async def test_a_user_over_the_limit_can_still_shrink_what_is_stored(
    conversations: Conversations, redis: Redis
) -> None:
    made = await conversations.create(USER, {"a": "x" * 500})
    await redis.hincrby(QUOTA, "conv_other", LIMIT)
    await redis.hincrby(QUOTA, "*", LIMIT)
    assert (await conversations.update(USER, made.id, metadata={"a": "x"})).metadata == {"a": "x"}


async def test_a_question_is_refused_before_the_engine_is_asked(gateway: Replica, conversations: Conversations) -> None:
    made = await filled(conversations)
    for asked in (ResponseCreate(input="go"), ResponseCreate(input="go", conversation=made[0])):
        with pytest.raises(StorageLimit):
            await gateway.turns.start(USER, asked)
    assert gateway.engine.prompt_calls == []
    assert await gateway.redis.keys("*:response:*") == []
    assert await gateway.redis.smembers("parley:gateway:g1:turns") == set()


async def test_a_response_that_is_not_stored_needs_no_room(gateway: Replica, conversations: Conversations) -> None:
    await filled(conversations)
    assert (await gateway.run_turn(ResponseCreate(input="go", store=False)))[-1]["type"] == "response.completed"


@pytest.mark.parametrize("deleted", ["a conversation", "an item"])
async def test_what_is_deleted_makes_room_at_once(conversations: Conversations, redis: Redis, deleted: str) -> None:
    made = await filled(conversations)
    if deleted == "a conversation":
        await conversations.delete(USER, made[0])
        await conversations.create(USER, {}, items=[LONG])
    else:
        page = await conversations.items.page(USER, made[0], limit=1, after=None, order="asc")
        await conversations.items.delete(USER, made[0], page.data[0].id)
        await conversations.items.create(USER, made[0], [LONG])
    assert await counted(redis) <= LIMIT


async def test_everything_stored_of_a_turn_counts_until_it_is_deleted(gateway: Replica, redis: Redis) -> None:
    ids = []
    for _ in range(2):
        ids.append((await gateway.run_turn(ResponseCreate(input="x" * 5000)))[-1]["response"]["id"])
        await gateway.registry.finish(5)
    names = set(await fields(redis))
    assert {"*", *ids, *(f"{one}:log" for one in ids)} < names
    twice = await counted(redis)
    await gateway.following.delete(USER, ids[1])
    once = await counted(redis)
    assert once > 5000
    assert once == twice / 2
    await gateway.following.delete(USER, ids[0])
    assert await counted(redis) == 0


async def test_a_running_answer_is_counted_before_its_size_is_known(gateway: Replica, redis: Redis) -> None:
    gateway.engine.hold = asyncio.Event()
    running = await gateway.begin_turn(ResponseCreate(input="go"))
    assert await counted(redis) > RUNNING_ANSWER
    gateway.engine.hold.set()
    await running.log.events.wait_closed()
    await gateway.registry.finish(5)
    assert await counted(redis) < RUNNING_ANSWER / 10


async def test_a_committed_answer_is_counted_once(port: int, redis: Redis) -> None:
    class Lossy(Bounded):
        lost = 2

        async def commit(self, record: Any) -> Any:
            result = await super().commit(record)
            if self.lost:
                self.lost -= 1
                raise Unavailable("redis")
            return result

    totals = []
    for store in (Bounded, Lossy):
        await redis.delete(QUOTA)
        async with replica(port, FakeEngine(*text_stream("fine")), store=store) as gateway:
            await gateway.run_turn(ResponseCreate(input="go"))
            await gateway.registry.finish(5)
        totals.append(await counted(redis))
    assert totals[0] == totals[1]


async def test_a_refused_request_gives_its_room_back(gateway: Replica, redis: Redis) -> None:
    for asked in (ResponseCreate(input="go", model="gpt-9"), ResponseCreate(input="go", conversation="conv_a")):
        with pytest.raises(Exception, match=r"no such|serves"):
            await gateway.turns.start(USER, asked)
    assert await counted(redis) == 0
    create = ResponseCreate(input="go")
    for _ in range(2):
        await gateway.turns.start(USER, create, idempotency_key="mine")
        await gateway.registry.finish(5)
    assert not any(name.startswith("reserved:") for name in await fields(redis))


async def test_a_turn_never_settles_more_than_it_has_reserved(port: int, redis: Redis) -> None:
    """The longest instructions, of the conversation and of the request, and a whole body of input."""
    settled: list[tuple[int, int]] = []

    class Recording(TurnStore):
        async def accept(self, record: TurnRecord) -> str:
            reservation = record.reservation
            assert reservation is not None
            before = await counted(redis) - reservation.size
            accepted = await super().accept(record)
            settled.append((await counted(redis) - before, reservation.size))
            return accepted

    escaped = '\x01\n"' * 3_000
    async with replica(port, FakeEngine(*text_stream("fine")), store=Recording) as gateway:
        gateway.engine.context_tokens = 10**7
        made = await Conversations(redis).create(USER, {}, generation=Generation(instructions="x" * 64_000))
        many = tuple(InputMessage("user", "y" * 20) for _ in range(400))
        for create in (
            ResponseCreate(input="go", conversation=made.id),
            ResponseCreate(input="z" * 900_000, instructions=escaped, metadata={"a": escaped[:500]}),
            ResponseCreate(input=many, conversation=made.id, metadata={"client_message_id": "x"}),
            ResponseCreate(input="go", conversation=made.id),
        ):
            await gateway.turns.start(USER, create, idempotency_key="k" + str(len(settled)))
            await gateway.registry.finish(20)
    assert len(settled) == 4
    assert all(size <= reserved for size, reserved in settled)


async def test_a_hundred_concurrent_conversations_through_two_gateways_fill_the_limit_exactly(
    port: int, redis: Redis
) -> None:
    async with connection(port, 20) as one, connection(port, 20) as other:
        stores = [Conversations(client, StorageQuota(client, max_bytes=LIMIT)) for client in (one, other)]
        outcomes = await asyncio.gather(
            *(stores[number % 2].create(USER, {}, items=[LONG]) for number in range(100)), return_exceptions=True
        )
    made = [one for one in outcomes if isinstance(one, Conversation)]
    assert len(made) == LIMIT // 114_300
    assert all(isinstance(one, Conversation | StorageLimit) for one in outcomes)
    assert len(await redis.keys("*:items")) == len(made)
    assert LIMIT - 114_300 < await counted(redis) <= LIMIT


async def test_a_hundred_concurrent_turns_through_two_gateways_stay_within_the_limit(port: int, redis: Redis) -> None:
    create = ResponseCreate(input="x" * 10_000)
    async with connection(port, 20) as one, connection(port, 20) as other:
        stores = [Bounded(client, retention_seconds=60) for client in (one, other)]

        async def ask(number: int) -> TurnRequest:
            store, request = stores[number % 2], turn(number, new_thread_id(), 2, user=USER)
            reservation = await store.reserve(USER, create)
            await accept(store, request, create.items[0].at(1), reservation=reservation)
            return request

        outcomes = await asyncio.gather(*(ask(number) for number in range(100)), return_exceptions=True)
        accepted = [one for one in outcomes if isinstance(one, TurnRequest)]
        assert all(isinstance(one, TurnRequest | StorageLimit) for one in outcomes)
        assert 0 < len(accepted) <= LIMIT // RUNNING_ANSWER
        assert len(await redis.keys("parley:{user_1}:response:*")) == len(accepted)
        assert LIMIT - 2 * (RUNNING_ANSWER + TURN_CONTEXT) < await counted(redis) <= LIMIT
        for request in accepted:
            await commit(stores[0], request, answer(2))
        assert await counted(redis) < len(accepted) * 50_000


async def test_expired_data_makes_room_at_the_limit(conversations: Conversations, redis: Redis) -> None:
    for made in await filled(conversations):
        await redis.delete(f"parley:{{{USER}}}:conversation:{made}", f"parley:{{{USER}}}:conversation:{made}:items")
    later = Conversations(redis, StorageQuota(redis, max_bytes=LIMIT))
    await later.create(USER, {}, items=[LONG])
    assert await counted(redis) < 2 * 114_300


async def test_the_events_of_an_answer_make_room_when_they_have_expired(gateway: Replica, redis: Redis) -> None:
    gateway.engine.hold = asyncio.Event()
    running = await gateway.begin_turn(ResponseCreate(input="go"))
    ended = (await fields(redis)).keys()
    quota = StorageQuota(redis, max_bytes=1)
    with pytest.raises(StorageLimit):
        await quota.reserve(USER, 1)
    assert (await fields(redis)).keys() == ended, "the answer still runs"
    gateway.engine.hold.set()
    await running.log.events.wait_closed()
    await gateway.registry.finish(5)
    log = f"{running.request.response_id}:log"
    await redis.delete(f"parley:{{{USER}}}:response:{log}")
    with pytest.raises(StorageLimit):
        await StorageQuota(redis, max_bytes=1).reserve(USER, 1)
    assert log not in await fields(redis)
    assert running.request.response_id in await fields(redis)


async def test_the_reservation_of_a_gateway_that_died_is_dropped_at_the_limit(
    conversations: Conversations, quota: StorageQuota, redis: Redis
) -> None:
    reservation = await quota.reserve(USER, LIMIT - 1000)
    with pytest.raises(StorageLimit):
        await StorageQuota(redis, max_bytes=LIMIT).reserve(USER, 2000)
    await redis.hset(QUOTA, f"reserved:{reservation.token}", f"{LIMIT - 1000} 1763830000000")
    await Conversations(redis, StorageQuota(redis, max_bytes=LIMIT)).create(USER, {}, items=[LONG])
    assert await counted(redis) < 2 * 114_300


async def test_at_the_limit_keys_are_not_looked_for_at_every_request(
    conversations: Conversations, redis: Redis, quota: StorageQuota
) -> None:
    made = await filled(conversations)
    await redis.delete(f"parley:{{{USER}}}:conversation:{made[0]}", f"parley:{{{USER}}}:conversation:{made[0]}:items")
    with pytest.raises(StorageLimit):
        await quota.reserve(USER, 100_000)


async def test_concurrent_deletions_refund_once(conversations: Conversations, redis: Redis) -> None:
    made = await filled(conversations)
    page = await conversations.items.page(USER, made[0], limit=1, after=None, order="asc")
    before = await counted(redis)
    size = int((await fields(redis))[made[0]])
    await asyncio.gather(
        *(conversations.items.delete(USER, made[0], page.data[0].id) for _ in range(3)),
        *(conversations.delete(USER, made[0]) for _ in range(3)),
        return_exceptions=True,
    )
    assert size > 100_000
    assert await counted(redis) == before - size


async def test_concurrent_deletions_of_a_response_refund_once(gateway: Replica, redis: Redis) -> None:
    first = (await gateway.run_turn(ResponseCreate(input="x" * 5000)))[-1]["response"]["id"]
    await gateway.registry.finish(5)
    before = await counted(redis)
    create = ResponseCreate(input="x" * 5000, previous_response_id=first)
    second = (await gateway.run_turn(create))[-1]["response"]["id"]
    await gateway.registry.finish(5)
    responses = ResponseStore(redis)
    found = await responses.find(USER, second)
    await asyncio.gather(*(responses.delete(USER, found) for _ in range(5)))
    assert await counted(redis) == before


async def test_a_turn_in_a_conversation_that_was_just_deleted_counts_nothing(gateway: Replica, redis: Redis) -> None:
    conversations = Conversations(redis)
    made = await conversations.create(USER, {})
    gateway.engine.hold = asyncio.Event()
    await gateway.begin_turn(ResponseCreate(input="go", conversation=made.id))
    await conversations.delete(USER, made.id)
    gateway.engine.hold.set()
    await gateway.registry.finish(5)
    assert await counted(redis) == 0


async def test_what_an_earlier_version_has_counted_is_measured_once(
    conversations: Conversations, gateway: Replica, redis: Redis
) -> None:
    """It counted items and responses, under the names of their keys, and neither metadata nor generation."""
    made = await conversations.create(USER, {"a": "x" * 500}, items=[LONG])
    response_id = (await gateway.run_turn(ResponseCreate(input="go")))[-1]["response"]["id"]
    await gateway.registry.finish(5)
    usual = await counted(redis)
    earlier = f"parley:{{{USER}}}:sizes"
    keys: Any = await redis.keys(f"parley:{{{USER}}}:*:items")
    names = [key.decode() for key in keys]
    names.append(f"parley:{{{USER}}}:response:{response_id}")
    await redis.delete(QUOTA)
    await redis.hset(earlier, mapping={**dict.fromkeys(names, "7"), "*": "21"})
    await conversations.create(USER, {})
    assert not await redis.exists(earlier)
    assert {made.id, response_id} < set(await fields(redis))
    assert abs(await counted(redis) - usual - THREAD) < usual / 5
    await redis.hset(earlier, mapping={**dict.fromkeys(names, "7"), "*": "21"})  # a gateway that is not updated yet
    before = await counted(redis)
    await conversations.create(USER, {})
    assert abs(await counted(redis) - before) < 2 * THREAD


def test_what_a_turn_needs_at_least_fits_into_the_smallest_quota() -> None:
    assert RUNNING_ANSWER + TURN_CONTEXT < 2**20 / 2
