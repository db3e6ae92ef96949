"""Redis that replies and refuses (`errors`): full, read-only, loading. Nothing is lost, and the reason is reported."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, RedisError

from dev.process import Process
from gateway.errors import StorageFull, Unavailable
from gateway.protocol.create import ResponseCreate
from gateway.store.health import StorageHealth
from gateway.store.history.conversations import Conversations
from gateway.store.leases import Leases
from gateway.store.turn_log.fencing import Segments
from tests.contract import conformance
from tests.gateway.builders import connection
from tests.gateway.replica import FakeEngine, Replica, collect_events, replica, text_stream
from tests.gateway.takeovers import TEXT, abandon_turn, count_listed, final_response, takeover_by

ASKED = ResponseCreate(input="go")


@pytest.fixture
def port(durable_redis: Process) -> int:
    """Of a Redis that no other test uses."""
    port = durable_redis.command.port
    assert port is not None
    return port


@pytest.fixture
async def redis(port: int) -> AsyncIterator[Redis]:
    async with connection(port) as client:
        yield client


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream(TEXT))) as found:
        yield found


@asynccontextmanager
async def full(redis: Redis) -> AsyncIterator[None]:
    await redis.config_set("maxmemory", "1")
    try:
        yield
    finally:
        await redis.config_set("maxmemory", "0")


@asynccontextmanager
async def read_only(redis: Redis) -> AsyncIterator[None]:
    """A replica whose primary is unreachable, as after a failover."""
    await redis.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        await redis.replicaof("no", "one")


REFUSING = pytest.mark.parametrize("state", [full, read_only])


@REFUSING
@pytest.mark.parametrize("place", ["a conversation", "nowhere"])
async def test_a_question_is_refused_with_the_reason(gateway: Replica, redis: Redis, state: Any, place: str) -> None:
    within = (await Conversations(redis).create("user_1", {})).id
    asked = ResponseCreate(input="go", conversation=within) if place == "a conversation" else ASKED
    async with state(redis):
        with pytest.raises(StorageFull):
            await gateway.turns.start("user_1", asked)
    assert (await gateway.run_turn(asked))[-1]["type"] == "response.completed"


@REFUSING
async def test_stored_data_can_be_read(gateway: Replica, redis: Redis, state: Any) -> None:
    conversations = Conversations(redis)
    within = (await conversations.create("user_1", {"title": "kept"})).id
    response_id = (await gateway.run_turn(ResponseCreate(input="go", conversation=within)))[-1]["response"]["id"]
    await gateway.registry.finish(5)
    async with state(redis):
        assert (await conversations.conversation("user_1", within)).metadata == {"title": "kept"}
        page = await conversations.items.page("user_1", within, limit=9, after=None, order="asc")
        assert len(page.data) == 2
        listing = await conversations.index.page("user_1", limit=9, after=None, order="desc")
        assert [one.id for one in listing.data] == [within]
        assert (await gateway.following.get("user_1", response_id)).response.status == "completed"
        assert [text async for text in gateway.following.follow("user_1", response_id)][-1:]


async def test_a_full_redis_still_deletes(gateway: Replica, redis: Redis) -> None:
    conversations = Conversations(redis)
    within = (await conversations.create("user_1", {})).id
    response_id = (await gateway.run_turn(ASKED))[-1]["response"]["id"]
    await gateway.registry.finish(5)
    async with full(redis):
        await conversations.delete("user_1", within)
        await gateway.following.delete("user_1", response_id)
    assert [key for key in await redis.keys() if within.encode() in key or response_id.encode() in key] == []


@REFUSING
async def test_an_answer_waits_for_room_and_continues_without_a_gap(gateway: Replica, redis: Redis, state: Any) -> None:
    response_id = await abandon_turn(gateway)
    running = gateway.registry.find("user_1", response_id)
    assert running is not None
    assert gateway.engine.hold is not None
    async with state(redis):
        shown = len(running.log.events)
        gateway.engine.hold.set()
        await gateway.engine.closed.wait()  # all deltas were sent
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await running.log.wait_flushed()
        assert len(running.log.events) == shown, "followers see only what is stored"
    assert conformance.stream(await collect_events(running))["output"][0]["content"][0]["text"] == TEXT


async def test_a_full_redis_still_renews_the_lease(redis: Redis) -> None:
    lease = Leases(redis, "g1")
    assert await lease.renew()
    async with full(redis):
        assert not await lease.renew()
    assert await lease.is_alive("g1")


@REFUSING
async def test_a_turn_that_cannot_be_taken_over_yet_is_taken_over_later(
    gateway: Replica, redis: Redis, port: int, state: Any
) -> None:
    response_id = await abandon_turn(gateway)
    async with replica(port, FakeEngine(*text_stream(TEXT)), name="g2") as taker, takeover_by(taker, redis) as takeover:
        async with state(redis):
            with pytest.raises(StorageFull):
                await Segments(redis).fence("user_1", response_id, 0, "g2")
            await takeover.take_over_all("g1")
            assert await redis.scard("parley:gateway:g1:turns") == 1
            assert taker.registry.find("user_1", response_id) is None
        await takeover.take_over_all("g1")
        assert (await final_response(taker, response_id))["output"][0]["content"][0]["text"] == TEXT
    assert await count_listed(redis, "g1") == 0


@contextmanager
def loading(process: Process) -> Iterator[None]:
    """Killed, and started again with a disk so slow that loading takes a second."""
    process.kill()
    slow = ["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"]
    usual, process.command = process.command, replace(process.command, arguments=[*process.command.arguments, *slow])
    process.start()
    try:
        yield
    finally:
        process.command = usual


async def test_an_answer_waits_for_a_redis_that_is_loading(
    gateway: Replica, redis: Redis, durable_redis: Process
) -> None:
    response_id = await abandon_turn(gateway)
    running = gateway.registry.find("user_1", response_id)
    assert running is not None
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(200):
            pipe.set(f"much:{number}", "x" * 2000)
        await pipe.execute()
    await redis.bgrewriteaof()
    while (await redis.info("persistence"))["aof_rewrite_in_progress"]:
        await asyncio.sleep(0.01)
    with loading(durable_redis):
        await reports_loading(redis)
        with pytest.raises(Unavailable):
            await StorageHealth(redis).ping()
        assert gateway.engine.hold is not None
        gateway.engine.hold.set()
        assert conformance.stream(await collect_events(running))["output"][0]["content"][0]["text"] == TEXT


async def reports_loading(redis: Redis) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await redis.ping()
            except BusyLoadingError:
                return
            except RedisError:
                await asyncio.sleep(0.005)  # not listening yet
                continue
            pytest.fail("it had loaded before the first ping")
