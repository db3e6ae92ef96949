"""Conversations as they are in Redis, made into what a client sees."""

from collections.abc import Mapping, Sequence

import msgspec
from redis.asyncio import Redis

from gateway.errors import NotFound
from gateway.protocol.ids import is_conversation_id
from gateway.protocol.resources import Conversation, Generation
from gateway.store.errors import translated
from gateway.store.history.cursors import Cursor
from gateway.store.history.keys import active_field, index_key, thread_key

_ACTIVE = active_field("").encode()

decode_metadata = msgspec.json.Decoder(dict[str, str]).decode
_decode_generation = msgspec.json.Decoder(Generation).decode


async def read(redis: Redis, user_id: str, conversation_id: str) -> Conversation:
    """Raises NotFound."""
    key = checked_key(user_id, conversation_id)
    # Not in a transaction: a full Redis refuses even to read in one.
    async with translated(), redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(key)
        pipe.zscore(index_key(user_id), conversation_id)
        fields, active_ms = await pipe.execute()
    found = _conversation(Cursor(int(active_ms or 0), conversation_id), fields)
    if found is None:
        raise no_conversation()
    return found


async def read_all(redis: Redis, user_id: str, cursors: Sequence[Cursor]) -> list[Conversation | None]:
    """One for each cursor, None for what was deleted meanwhile."""
    async with translated(), redis.pipeline(transaction=False) as pipe:
        for cursor in cursors:
            pipe.hgetall(thread_key(user_id, cursor.id))
        rows = await pipe.execute() if cursors else []
    return [_conversation(cursor, fields) for cursor, fields in zip(cursors, rows, strict=True)]


def checked_key(user_id: str, conversation_id: str) -> str:
    """What could not be the id of a conversation never becomes part of a key. Raises NotFound."""
    if not is_conversation_id(conversation_id):
        raise no_conversation()
    return thread_key(user_id, conversation_id)


def no_conversation() -> NotFound:
    """For a foreign id as for an absent one."""
    return NotFound("conversation", param="conversation_id")


def active_responses(fields: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """The ids of those that run, in the order they have in the conversation."""
    running = [(int(last), name) for name, last in fields.items() if name.startswith(_ACTIVE)]
    return tuple(name.removeprefix(_ACTIVE).decode() for _, name in sorted(running))


def _conversation(cursor: Cursor, fields: Mapping[bytes, bytes]) -> Conversation | None:
    if b"created_at" not in fields:
        return None
    return Conversation(
        cursor.id,
        int(fields[b"created_at"]),
        decode_metadata(fields.get(b"metadata", b"{}")),
        generation=_decode_generation(fields.get(b"generation", b"{}")),
        last_active_at=cursor.active_ms // 1000,
        active_responses=active_responses(fields),
    )
