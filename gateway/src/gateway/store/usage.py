"""What each user has used, by day.

The numbers of an answer that broke off are those that are certain, so they may be too low (gateway.engine.relay).
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.protocol.resources import Usage
from gateway.protocol.usage import RETENTION_DAYS, UsageOfDay
from gateway.store.errors import translate_redis_errors
from gateway.store.keys import QUOTA_TOTAL, quota_key, usage_field, usage_key

logger = logging.getLogger(__name__)

# What a day takes in Redis, with its count in the quota.
_DAY_BYTES = 300
_FIELDS = ("requests", "input_tokens", "output_tokens")


def _utc_now() -> datetime:
    # The gateway's own clock: if it differs from another gateway's, answers around midnight count for the other day.
    return datetime.now(UTC)


class UsageStore:
    def __init__(self, redis: Redis, now: Callable[[], datetime] = _utc_now) -> None:
        self._redis = redis
        self._now = now

    async def add(self, user_id: str, usage: Usage) -> None:
        """Counts one more request. Never raises: an answer matters more than its count."""
        date = _date(self._now())
        key = usage_key(user_id, date)
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                for field, amount in zip(_FIELDS, (1, usage.input_tokens, usage.output_tokens), strict=True):
                    pipe.hincrby(key, field, amount)
                pipe.expire(key, timedelta(days=RETENTION_DAYS))
                requests, *_ = await pipe.execute()
                if requests == 1:
                    pipe.hincrby(quota_key(user_id), usage_field(date), _DAY_BYTES)
                    pipe.hincrby(quota_key(user_id), QUOTA_TOTAL, _DAY_BYTES)
                    await pipe.execute()
        except RedisError as exc:
            logger.warning("usage was not counted: redis does not reply", extra={"reason": str(exc)})

    async def read(self, user_id: str, days: int) -> tuple[UsageOfDay, ...]:
        """The last `days` days, today first, also those without a request. Raises Unavailable."""
        today = self._now()
        dates = [_date(today - timedelta(days=ago)) for ago in range(days)]
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for date in dates:
                pipe.hmget(usage_key(user_id, date), _FIELDS)
            rows = await pipe.execute()
        return tuple(
            UsageOfDay(date, *(int(number or 0) for number in row)) for date, row in zip(dates, rows, strict=True)
        )


def _date(moment: datetime) -> str:
    return moment.date().isoformat()
