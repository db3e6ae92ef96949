"""Redis' errors as those of gateway.errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.exceptions import ExecAbortError, OutOfMemoryError, ReadOnlyError, RedisError

from gateway.errors import StorageFull, Unavailable


@asynccontextmanager
async def translate_redis_errors() -> AsyncIterator[None]:
    """Raises StorageFull where Redis refuses to store more, Unavailable for any other failure."""
    try:
        yield
    except (OutOfMemoryError, ReadOnlyError, ExecAbortError) as exc:
        raise StorageFull from exc
    except RedisError as exc:
        raise Unavailable("redis") from exc
