"""A conversation as its hash in Redis, decoded for clients."""

from collections.abc import Mapping, Sequence

import msgspec
from redis.asyncio import Redis

from gateway.errors import NotFound
from gateway.protocol.ids import is_conversation_id
from gateway.protocol.resources import Conversation, Generation
from gateway.store.errors import translate_redis_errors
from gateway.store.history.cursors import Cursor
from gateway.store.keys import index_key, thread_key

_ACTIVE = "active:"

decode_metadata = msgspec.json.Decoder(dict[str, str]).decode
decode_generation = msgspec.json.Decoder(Generation).decode


async def read_conversation(redis: Redis, user_id: str, conversation_id: str) -> Conversation:
    """Raises NotFound."""
    key = conversation_key(user_id, conversation_id)
    # Not in a transaction: a full Redis refuses even to read in one.
    async with translate_redis_errors(), redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(key)
        pipe.zscore(index_key(user_id), conversation_id)
        fields, active_ms = await pipe.execute()
    found = _decode(Cursor(int(active_ms or 0), conversation_id), fields)
    if found is None:
        raise conversation_not_found()
    return found


async def read_conversations(redis: Redis, user_id: str, cursors: Sequence[Cursor]) -> list[Conversation | None]:
    """One for each cursor, None for one that was deleted meanwhile."""
    async with translate_redis_errors(), redis.pipeline(transaction=False) as pipe:
        for cursor in cursors:
            pipe.hgetall(thread_key(user_id, cursor.id))
        rows = await pipe.execute() if cursors else []
    return [_decode(cursor, fields) for cursor, fields in zip(cursors, rows, strict=True)]


def conversation_key(user_id: str, conversation_id: str) -> str:
    """Only a well-formed id becomes part of a key. Raises NotFound for any other."""
    if not is_conversation_id(conversation_id):
        raise conversation_not_found()
    return thread_key(user_id, conversation_id)


def conversation_not_found() -> NotFound:
    """For a foreign id as for an absent one."""
    return NotFound("conversation", param="conversation_id")


def active_field(response_id: str) -> str:
    """The hash has this field, with the last position of the response, while the response runs."""
    return _ACTIVE + response_id


def active_responses(fields: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """The ids of those that run, in the order they have in the conversation."""
    prefix = _ACTIVE.encode()
    running = [(int(last), name) for name, last in fields.items() if name.startswith(prefix)]
    return tuple(name.removeprefix(prefix).decode() for _, name in sorted(running))


def _decode(cursor: Cursor, fields: Mapping[bytes, bytes]) -> Conversation | None:
    if b"created_at" not in fields:
        return None
    return Conversation(
        cursor.id,
        int(fields[b"created_at"]),
        decode_metadata(fields.get(b"metadata", b"{}")),
        generation=decode_generation(fields.get(b"generation", b"{}")),
        last_active_at=cursor.active_ms // 1000,
        active_responses=active_responses(fields),
    )
