"""The clock of Redis: the only one that all gateways share. Their own may differ by any amount, so a time that one
gateway stores and another compares is never taken from them."""

import time

from redis.asyncio import Redis

# In between, the clocks of two machines drift apart by milliseconds.
_READ_INTERVAL_SECONDS = 60.0


async def redis_now_ms(redis: Redis) -> int:
    """Unix milliseconds. Raises the client's errors.

    INFO, because the gateway's user may not call TIME where its rules are from before an update.
    """
    server = await redis.info("server")
    return int(server["server_time_usec"]) // 1000


class RedisClock:
    """The same, mostly without a round trip: for what happens in every turn."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._read_at = -_READ_INTERVAL_SECONDS
        self._offset_ms = 0

    async def now_ms(self) -> int:
        now = time.monotonic()
        if now - self._read_at >= _READ_INTERVAL_SECONDS:
            self._offset_ms = await redis_now_ms(self._redis) - int(now * 1000)
            self._read_at = now
        return self._offset_ms + int(time.monotonic() * 1000)
