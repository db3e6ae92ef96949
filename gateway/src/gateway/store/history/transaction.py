"""Read, then write, as one step: what a conversation is told depends on what it is, and that it is still there."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.errors import Unavailable
from gateway.store.errors import translated
from gateway.store.history.reading import checked_key, no_conversation

T = TypeVar("T")

# So often in a row somebody else may be the first to write to the same conversation.
_ATTEMPTS = 50


async def transact(
    redis: Redis, user_id: str, conversation_id: str, read: Sequence[str], write: Callable[[Any, list[Any]], T]
) -> T:
    """`write` gets a pipeline to fill and the fields that were read of the conversation's hash. If that changes before
    all is written, Redis writes nothing, and it is tried anew: so nothing is ever left of one that was deleted.

    Raises NotFound.
    """
    key = checked_key(user_id, conversation_id)
    async with translated(), redis.pipeline(transaction=True) as pipe:
        for _ in range(_ATTEMPTS):
            await pipe.watch(key)
            found: Any = await pipe.hmget(key, ["created_at", *read])
            if found[0] is None:
                raise no_conversation()
            pipe.multi()  # type: ignore[no-untyped-call]
            written = write(pipe, found[1:])
            try:
                await pipe.execute()
            except WatchError:
                continue
            return written
    raise Unavailable("redis")
