"""The loss of stored data is detected on a real Redis, also where Redis itself reports that it is healthy."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from socket import create_connection
from typing import Any

import pytest
from anyio.to_thread import run_sync
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from dev.ports import free_port
from dev.process import Command, Process
from dev.redis_server import ADMIN_USER, arguments, users_acl
from gateway.errors import StorageFull, StorageLost, Unavailable
from gateway.store.history.conversations import Conversations
from gateway.store.keys import MARKER_KEY, WITNESS_KEY, index_key
from gateway.store.marker import StorageMarker
from tests.gateway.builders import connection
from tests.gateway.items import ALICE

PASSWORD = "pw"


@pytest.fixture
async def marker(redis: Redis) -> StorageMarker:
    """Of a gateway that runs."""
    marker = StorageMarker(redis)
    await marker.advance()
    return marker


@pytest.fixture
def forgetful_redis(tmp_path: Path) -> Iterator[Process]:
    """With the users of an earlier version: it drops every transaction when it restarts."""
    users = users_acl(
        gateway_password=PASSWORD, auth_service_password=PASSWORD, guard_password=PASSWORD, admin_password=PASSWORD
    )
    earlier = re.sub(r"^user default off .*$", "user default off", users, flags=re.MULTILINE)
    assert earlier != users
    port, acl_file = free_port(), tmp_path / "users.acl"
    acl_file.write_text(earlier)

    def is_ready() -> bool:
        with create_connection(("127.0.0.1", port), timeout=2):
            return True

    command = arguments(port=port, folder=tmp_path, acl_file=acl_file)
    process = Process(Command("redis", command, is_ready, port), tmp_path / "log", tmp_path)
    process.start()
    process.wait_ready()
    yield process
    process.stop()


@pytest.fixture
async def forgetful(forgetful_redis: Process) -> AsyncIterator[Redis]:
    async with Redis(port=forgetful_redis.command.port, username=ADMIN_USER, password=PASSWORD) as client:
        yield client


async def record(redis: Redis, key: str) -> tuple[str, int]:
    fields: Any = await redis.hgetall(key)
    return fields[b"id"].decode(), int(fields[b"writes"])


async def test_a_new_database_gets_a_marker_and_a_witness(redis: Redis) -> None:
    marker = StorageMarker(redis)
    await marker.check()
    assert await redis.exists(MARKER_KEY, WITNESS_KEY) == 0
    await marker.advance()
    await marker.check()
    assert await record(redis, MARKER_KEY) == await record(redis, WITNESS_KEY)
    assert int(await redis.hget(MARKER_KEY, "created_at") or 0) > 0


async def test_gateways_that_start_at_once_create_one_marker(redis: Redis) -> None:
    markers = [StorageMarker(redis) for _ in range(20)]
    await asyncio.gather(*(marker.advance() for marker in markers))
    marker_id, _ = await record(redis, MARKER_KEY)
    assert (await record(redis, WITNESS_KEY))[0] == marker_id
    for _ in range(5):
        for marker in [*markers, StorageMarker(redis)]:
            await marker.check()
        await asyncio.gather(*(marker.advance() for marker in markers))
    assert (await record(redis, MARKER_KEY))[0] == marker_id


async def test_a_database_of_an_earlier_version_gets_a_marker(redis: Redis) -> None:
    await Conversations(redis).create(ALICE, {})
    await StorageMarker(redis).advance()
    await StorageMarker(redis).check()


async def test_a_restart_of_redis_loses_nothing(durable_redis: Process) -> None:
    async with connection(durable_redis.command.port) as redis:
        marker = StorageMarker(redis)
        await marker.advance()
        await run_sync(durable_redis.restart)
        await redis.connection_pool.disconnect()
        for each in (marker, StorageMarker(redis)):
            await each.check()
            await each.advance()


async def test_a_witness_without_its_marker_is_a_loss(redis: Redis, marker: StorageMarker) -> None:
    await redis.delete(MARKER_KEY)
    for each in (marker, StorageMarker(redis)):
        for request in (each.check(), each.advance()):
            with pytest.raises(StorageLost):
                await request
    assert not await redis.exists(MARKER_KEY)


async def test_a_marker_behind_its_witness_is_a_loss(redis: Redis, marker: StorageMarker) -> None:
    await marker.advance()
    await redis.hset(MARKER_KEY, "writes", "1")
    for each in (marker, StorageMarker(redis)):
        with pytest.raises(StorageLost):
            await each.check()


async def test_a_crash_between_marker_and_witness_is_not_a_loss(redis: Redis, marker: StorageMarker) -> None:
    await redis.hincrby(MARKER_KEY, "writes", 1)
    await marker.check()
    await redis.delete(WITNESS_KEY)
    await marker.check()


async def test_a_running_gateway_detects_an_emptied_database(redis: Redis, marker: StorageMarker) -> None:
    await redis.flushall()
    with pytest.raises(StorageLost):
        await marker.check()
    await StorageMarker(redis).advance()  # a gateway that starts now finds a new installation
    with pytest.raises(StorageLost):
        await marker.check()


@pytest.mark.parametrize("loss", ["marker deleted", "transactions dropped"])
async def test_the_evidence_of_a_loss_between_reading_and_writing_remains(
    redis: Redis, redis_process: Process, loss: str
) -> None:
    class Losing(StorageMarker):
        def _compare(self, *records: Any) -> None:
            super()._compare(*records)
            with BlockingRedis(port=redis_process.command.port) as other:
                if loss == "marker deleted":
                    other.delete(MARKER_KEY)
                else:
                    other.hset(MARKER_KEY, "writes", "2")

    for _ in range(3):
        await StorageMarker(redis).advance()
    before = await record(redis, WITNESS_KEY)
    await Losing(redis).advance()
    assert await record(redis, WITNESS_KEY) == before
    with pytest.raises(StorageLost):
        await StorageMarker(redis).check()


async def test_a_loss_is_acknowledged_by_deleting_the_witness(redis: Redis, marker: StorageMarker) -> None:
    await redis.delete(MARKER_KEY)
    with pytest.raises(StorageLost):
        await marker.check()
    await redis.delete(WITNESS_KEY)
    restarted = StorageMarker(redis)
    await restarted.advance()
    await restarted.check()


async def test_restored_data_is_accepted_by_a_running_gateway(redis: Redis, marker: StorageMarker) -> None:
    saved: dict[str, Any] = {key: await redis.hgetall(key) for key in (MARKER_KEY, WITNESS_KEY)}
    await redis.flushall()
    with pytest.raises(StorageLost):
        await marker.check()
    for key, fields in saved.items():
        await redis.hset(key, mapping=fields)
    await marker.check()


@pytest.mark.parametrize("rewritten", [False, True], ids=["as written", "rewritten"])
async def test_transactions_that_redis_drops_when_it_restarts_are_a_loss(
    forgetful_redis: Process, forgetful: Redis, rewritten: bool
) -> None:
    await StorageMarker(forgetful).advance()
    if rewritten:  # the marker is in the part that is not replayed as commands
        await forgetful.bgrewriteaof()
        while (await forgetful.info("persistence"))["aof_rewrite_in_progress"]:
            await asyncio.sleep(0.01)
    running = StorageMarker(forgetful)
    await running.advance()
    await Conversations(forgetful).create(ALICE, {})
    await run_sync(forgetful_redis.restart)
    if await forgetful.exists(index_key(ALICE)):
        pytest.skip("this Redis replays transactions as it should")
    for each in (running, StorageMarker(forgetful)):
        with pytest.raises(StorageLost):
            await each.check()


async def test_an_unreachable_redis_is_not_a_loss(durable_redis: Process) -> None:
    async with connection(durable_redis.command.port) as redis:
        marker = StorageMarker(redis)
        await marker.advance()
        durable_redis.kill()
        for request in (marker.check(), marker.advance()):
            with pytest.raises(Unavailable) as caught:
                await request
            assert type(caught.value) is Unavailable


async def test_a_full_redis_is_not_a_loss(durable_redis: Process) -> None:
    async with connection(durable_redis.command.port) as redis:
        marker = StorageMarker(redis)
        await marker.advance()
        await redis.config_set("maxmemory", "1")
        with pytest.raises(StorageFull):
            await marker.advance()
        await marker.check()
