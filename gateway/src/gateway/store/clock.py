"""The clock of Redis: the only one that all gateways share. Their own may differ by any amount, so a time that one
gateway stores and another compares is never taken from them."""

from redis.asyncio import Redis


async def redis_now_ms(redis: Redis) -> int:
    """Unix milliseconds. Raises the client's errors."""
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000
