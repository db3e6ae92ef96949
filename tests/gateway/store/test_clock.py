from redis.asyncio import Redis

from gateway.store.clock import RedisClock, redis_now_ms


async def test_the_clock_is_that_of_redis_and_costs_one_round_trip_a_minute(redis: Redis) -> None:
    clock = RedisClock(redis)
    before = await redis_now_ms(redis)
    read = [await clock.now_ms() for _ in range(100)]
    after = await redis_now_ms(redis)
    calls = (await redis.info("commandstats"))["cmdstat_info"]["calls"]
    # Rounded to milliseconds three times.
    assert before - 3 <= read[0] <= read[-1] <= after + 3
    for _ in range(100):
        await clock.now_ms()
    assert (await redis.info("commandstats"))["cmdstat_info"]["calls"] == calls + 1  # the one that counts
