"""What Redis fails with, in our words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.exceptions import ExecAbortError, OutOfMemoryError, ReadOnlyError, RedisError

from gateway.errors import StorageFull, Unavailable


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Raises Unavailable for whatever Redis fails with, StorageFull where it only refuses to keep more."""
    try:
        yield
    except (OutOfMemoryError, ReadOnlyError, ExecAbortError) as exc:
        raise StorageFull from exc
    except RedisError as exc:
        raise Unavailable("redis") from exc
