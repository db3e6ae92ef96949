import asyncio
import logging
from typing import Any

import pytest
from redis.asyncio import Redis

from dev.process import Process
from gateway.errors import StorageLost, Unavailable, UnsafeEvictionPolicy
from gateway.store.health import StorageHealth
from gateway.store.keys import MARKER_KEY, WITNESS_KEY
from tests.gateway.builders import background_task, connection

FULL = "redis refuses new data"
LOST = "redis has lost its data"


async def test_a_new_database_is_healthy_and_gets_a_marker(redis: Redis) -> None:
    health = StorageHealth(redis)
    await health.ping()
    await health.check()
    await health.ping()
    assert await redis.exists(MARKER_KEY, WITNESS_KEY) == 2


async def test_a_loss_makes_it_unavailable_and_is_logged_once(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    health = StorageHealth(redis)
    await health.check()
    marker: Any = await redis.hgetall(MARKER_KEY)
    for _ in range(2):
        await redis.delete(MARKER_KEY)
        for _ in range(3):
            with pytest.raises(StorageLost) as caught:
                await health.ping()
            await health.check()
        assert (caught.value.dependency, caught.value.code) == ("redis", "service_unavailable")
        await redis.hset(MARKER_KEY, mapping=marker)
        await health.ping()
    found = [(one.levelno, one.message) for one in caplog.records if LOST in one.message]
    assert [level for level, _ in found] == [logging.ERROR] * 2  # once for each loss


async def test_a_running_gateway_notices_a_loss_by_itself(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    health = StorageHealth(redis, check_seconds=0.01)
    await health.check()
    async with background_task(health.watch()):
        writes = int(await redis.hget(MARKER_KEY, "writes") or 0)
        while int(await redis.hget(MARKER_KEY, "writes") or 0) == writes:
            await asyncio.sleep(0.01)
        await redis.flushall()
        while LOST not in caplog.text:
            await asyncio.sleep(0.01)


async def test_an_eviction_policy_that_forgets_conversations_is_refused_and_logged(
    durable_redis: Process, caplog: pytest.LogCaptureFixture
) -> None:
    async with connection(durable_redis.command.port) as redis:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(UnsafeEvictionPolicy) as caught:
            await StorageHealth(redis).ping()
        assert "allkeys-lru" in caught.value.message
        await StorageHealth(redis).check()
        assert "redis may evict conversations" in caplog.text


async def test_a_full_redis_is_healthy_and_logged(durable_redis: Process, caplog: pytest.LogCaptureFixture) -> None:
    async with connection(durable_redis.command.port) as redis:
        health = StorageHealth(redis)
        await health.check()
        assert FULL not in caplog.text
        await redis.config_set("maxmemory", "1")
        await health.check()
        await health.ping()
    assert FULL in caplog.text


async def test_an_unreachable_redis_is_unavailable_and_not_lost(
    durable_redis: Process, caplog: pytest.LogCaptureFixture
) -> None:
    async with connection(durable_redis.command.port) as redis:
        health = StorageHealth(redis)
        await health.check()
        durable_redis.kill()
        with pytest.raises(Unavailable) as caught:
            await health.ping()
        assert type(caught.value) is Unavailable
        await health.check()
    assert LOST not in caplog.text
    assert "redis is not reachable" in caplog.text
