"""What a transaction of a turn depends on: Redis executes it only if nobody changes that meanwhile."""

from dataclasses import dataclass
from typing import Any

from gateway.store.history.stored_conversation import active_field
from gateway.store.keys import idempotency_key, thread_key
from gateway.turn.records import TurnRecord


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """`owner` is None once the response is deleted. `has_range`: its items are found by their positions. `reserved` is
    what it is counted as while it runs, None when that is over, and for a turn that an earlier version accepted."""

    owner: str | None
    has_range: bool
    reserved: int | None


async def watch_acceptance(pipe: Any, record: TurnRecord) -> None:
    """What another gateway may change while this one decides."""
    user_id, keys = record.request.user_id, []
    if record.idempotency_key is not None:
        keys.append(idempotency_key(user_id, record.idempotency_key))
    if record.is_appended:
        keys.append(thread_key(user_id, record.thread_id))
    if keys:
        await pipe.watch(*keys)


async def is_at_the_end(pipe: Any, record: TurnRecord) -> bool:
    """Whether nothing was added to the chain after the response that this one continues from."""
    request = record.request
    key = thread_key(request.user_id, record.thread_id)
    position, accepted = await pipe.hmget(key, ("position", active_field(request.response_id)))
    return accepted is not None or (position is not None and int(position) == record.path[-1].last)


async def watch_response(pipe: Any, key: str) -> StoredTurn:
    await pipe.watch(key)
    owner, first, reserved = await pipe.hmget(key, ("owner", "first", "reserved"))
    pipe.multi()
    return StoredTurn(owner and owner.decode(), first is not None, None if reserved is None else int(reserved))
