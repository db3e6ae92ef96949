"""Public ids: a prefix that says what it is, and at least 96 random bits. A message's id also carries its position
in the conversation, so that an item is found by its id without an index."""

import re
import secrets

_SHAPE = re.compile(r"[a-z]{3,8}_[A-Za-z0-9-]{1,64}", re.ASCII)
_MESSAGE = re.compile(r"msg_([0-9a-f]{8})[0-9a-f]{24}", re.ASCII)


def new_response_id() -> str:
    return "resp_" + secrets.token_hex(16)


def new_conversation_id() -> str:
    return "conv_" + secrets.token_hex(16)


def new_message_id(position: int) -> str:
    return f"msg_{position:08x}{secrets.token_hex(12)}"


def position_in(message_id: str) -> int | None:
    """None for what no message of ours is called."""
    match = _MESSAGE.fullmatch(message_id)
    return int(match[1], 16) if match else None


def is_conversation_id(text: str) -> bool:
    """False for anything that could not have come from here, so that it never becomes part of a Redis key."""
    return text.startswith("conv_") and _SHAPE.fullmatch(text) is not None
