"""Public ids: a prefix for the type, and at least 96 random bits. An item's id also contains its position in its
conversation, so that it is found by its id without an index."""

import hashlib
import re
import secrets
from typing import Literal

_SHAPE = re.compile(r"[a-z]{2,8}_[A-Za-z0-9-]{1,64}", re.ASCII)
_ITEM = re.compile(r"(?:msg|fc|fco|rs|cmp)_([0-9a-f]{8})[0-9a-f]{24}", re.ASCII)

ItemPrefix = Literal["msg", "fc", "fco", "rs", "cmp"]


def new_response_id() -> str:
    return "resp_" + secrets.token_hex(16)


def new_conversation_id() -> str:
    return "conv_" + secrets.token_hex(16)


def new_thread_id() -> str:
    """For a chain of responses without a conversation; internal, never sent to a client."""
    return "thread_" + secrets.token_hex(16)


def new_call_id() -> str:
    return "call_" + secrets.token_hex(12)


def new_item_id(prefix: ItemPrefix, position: int) -> str:
    return f"{prefix}_{position:08x}{secrets.token_hex(12)}"


def item_id_in(response_id: str, prefix: ItemPrefix, position: int) -> str:
    """For an output item. Every gateway derives the same id, so that storing the item again adds nothing."""
    return f"{prefix}_{position:08x}{_digest(response_id)}"


def is_output_of(response_id: str, item_id: str) -> bool:
    return item_id.endswith(_digest(response_id))


def position_in(item_id: str) -> int | None:
    """None if it is not an id made here."""
    match = _ITEM.fullmatch(item_id)
    return int(match[1], 16) if match else None


def _digest(response_id: str) -> str:
    return hashlib.sha256(response_id.encode()).hexdigest()[:24]


def is_conversation_id(text: str) -> bool:
    """False for every id that was not made here, so that it never becomes part of a Redis key."""
    return text.startswith("conv_") and _SHAPE.fullmatch(text) is not None


def is_response_id(text: str) -> bool:
    return text.startswith("resp_") and _SHAPE.fullmatch(text) is not None
