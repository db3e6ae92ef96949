"""How many bytes of Redis' memory something takes, as it is counted for its user.

The bytes themselves, an eighth for what the allocator rounds up, and the structures around them, as `MEMORY USAGE`
reports them on Redis 7. A test compares the sum with it.
"""

from collections.abc import Iterable

# The hash of a thread, an empty sorted set and set, the entry in the list of conversations, and its own count.
THREAD = 1_500
# The hash of a response, and its own counts.
RESPONSE = 1_300
# Its entry in the thread, which may outlive it.
RESPONSE_ENTRY = 90
IDEMPOTENCY_KEY = 300
# What a running answer and its events are counted as until it ends: enough for 3,500 tokens.
RUNNING_ANSWER = 256 * 2**10
# What is stored with a turn besides its request: the instructions of its conversation (at most 64 KiB), the
# deployment's system prompt, the positions of its history, and the path of a new chain.
TURN_CONTEXT = 96 * 2**10

_ITEM = 128
# The id, the status and the names of fields that an item gets when it is stored.
_PLACED = 256
_LOG = 5_000


def bytes_of(*texts: bytes) -> int:
    return sum(len(text) + len(text) // 8 for text in texts)


def items_size(members: Iterable[bytes]) -> int:
    return sum(bytes_of(member) + _ITEM for member in members)


def input_size(given: bytes, count: int) -> int:
    """At least that of `count` items which a client sent as this JSON."""
    return bytes_of(given) + count * (_ITEM + _PLACED)


def log_size(size: int) -> int:
    """Of a turn log whose entries have `size` bytes."""
    return _LOG + size + size // 8
