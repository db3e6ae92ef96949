import logging
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.errors import Unavailable
from gateway.protocol.resources import Usage
from gateway.protocol.usage import UsageOfDay
from gateway.store.usage import UsageStore

USAGE = Usage(10, 3, 13)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def test_a_day_holds_the_requests_and_tokens_of_one_user(redis: Redis) -> None:
    usage = UsageStore(redis, Clock())
    await usage.add("user_1", USAGE)
    await usage.add("user_1", USAGE)
    await usage.add("user_2", USAGE)
    assert await usage.read("user_1", 1) == (UsageOfDay("2026-03-01", 2, 20, 6),)


async def test_days_are_utc_and_newest_first_and_those_without_requests_are_zero(redis: Redis) -> None:
    clock = Clock()
    usage = UsageStore(redis, clock)
    await usage.add("user_1", USAGE)
    clock.now = datetime(2026, 3, 3, 0, 0, 0, tzinfo=UTC)
    await usage.add("user_1", USAGE)
    assert await usage.read("user_1", 4) == (
        UsageOfDay("2026-03-03", 1, 10, 3),
        UsageOfDay("2026-03-02", 0, 0, 0),
        UsageOfDay("2026-03-01", 1, 10, 3),
        UsageOfDay("2026-02-28", 0, 0, 0),
    )


async def test_a_day_expires(redis: Redis) -> None:
    await UsageStore(redis, Clock()).add("user_1", USAGE)
    (key,) = [key async for key in redis.scan_iter("*usage*")]
    assert key == b"parley:{user_1}:usage:2026-03-01"
    assert 99 * 86400 < await redis.ttl(key) <= 100 * 86400


async def test_without_redis_only_reading_fails(caplog: pytest.LogCaptureFixture) -> None:
    async with Redis(port=9, retry=Retry(NoBackoff(), 0)) as nowhere:
        usage = UsageStore(nowhere, Clock())
        with caplog.at_level(logging.WARNING):
            await usage.add("user_1", USAGE)
        assert "was not counted" in caplog.text
        with pytest.raises(Unavailable):
            await usage.read("user_1", 1)
