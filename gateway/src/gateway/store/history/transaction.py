"""A change to a conversation that depends on what is stored, and on the conversation not having been deleted."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.errors import Unavailable
from gateway.store.errors import translate_redis_errors
from gateway.store.history.stored_conversation import conversation_key, conversation_not_found

T = TypeVar("T")

# Of a conversation that others write to at the same time.
_MAX_ATTEMPTS = 50


async def transact(
    redis: Redis, user_id: str, conversation_id: str, read: Sequence[str], write: Callable[[Any, list[Any]], T]
) -> T:
    """`write` gets a pipeline to fill and the fields `read` of the conversation's hash. If the hash changes before the
    pipeline is executed, Redis writes nothing, and this is tried again: nothing is added to a deleted conversation.

    Raises NotFound.
    """
    key = conversation_key(user_id, conversation_id)
    async with translate_redis_errors(), redis.pipeline(transaction=True) as pipe:
        for _ in range(_MAX_ATTEMPTS):
            await pipe.watch(key)
            found: Any = await pipe.hmget(key, ["created_at", *read])
            if found[0] is None:
                raise conversation_not_found()
            pipe.multi()  # type: ignore[no-untyped-call]
            written = write(pipe, found[1:])
            try:
                await pipe.execute()
            except WatchError:
                continue
            return written
    raise Unavailable("redis")
