"""What is stored of a turn and of the thread it belongs to: the values that use cases and adapters exchange.

A thread is a conversation, or a chain of responses outside any conversation. A chain that continues from the middle of
another thread begins with that thread's items, which stay where they are.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

import msgspec

from gateway.context.prompt import TokenCountCheckpoint
from gateway.protocol.ids import is_conversation_id, position_in
from gateway.protocol.items import Item
from gateway.protocol.resources import TERMINAL, Generation, Response
from gateway.turn.log_entry import StoredEntry
from gateway.turn.turn_request import TurnRequest

_NO_GENERATION = Generation()
# In JSON; in a text its quotes would be escaped.
_ID = re.compile(rb'"id":"[a-z]+_[0-9a-f]{32}",')


class Run(NamedTuple):
    """The items that one thread has of its own, up to the position `last`."""

    thread_id: str
    last: int


# An item's id has eight hexadecimal digits for it.
MAX_POSITION = 2**32 - 1

Path = tuple[Run, ...]
"""Where the items of a history are, the oldest first. Positions increase along a path."""


def content_digest(items: Sequence[Item]) -> str:
    """Of what they say, without their ids, which differ from request to request."""
    return hashlib.sha256(_ID.sub(b"", msgspec.json.encode(items))).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class ThreadSnapshot:
    """The newest items of a thread, oldest first. `older_count` items stand before them; of these the `head` is read
    too: the instructions that begin the thread. New items take the positions from `next_position` on. `path` is where
    they all are, empty when they are not stored. `read_bytes` is the size of the items, as they are stored."""

    items: list[Item]
    next_position: int
    checkpoint: TokenCountCheckpoint | None = None
    generation: Generation = _NO_GENERATION
    has_title: bool = True
    older_count: int = 0
    head: tuple[Item, ...] = ()
    path: Path = ()
    read_bytes: int = 0

    @property
    def first_position(self) -> int:
        """Older items have lower positions."""
        return (position_in(self.items[0].id) or 0) if self.items else self.next_position


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room for `size` bytes of a user."""

    user_id: str
    size: int
    token: str


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A turn to accept, which continues from `path`. Unless `thread_id` ends the path, it begins a new chain."""

    request: TurnRequest
    thread_id: str
    response: Response
    input: Sequence[Item]
    owner: str
    path: Path = ()
    idempotency_key: str | None = None
    reservation: Reservation | None = None

    @property
    def is_appended(self) -> bool:
        """To a chain."""
        return bool(self.path) and self.thread_id == self.path[-1].thread_id and not is_conversation_id(self.thread_id)


class ChainMovedOn(Exception):
    """Another response was added to the chain after the one to continue from; nothing was stored."""


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """The end of a turn that `owner` ran, and that continued from `path`. `checkpoint` is None where its count proves
    nothing for the next turn. `log_bytes` is the size of all its events."""

    user_id: str
    thread_id: str
    response: Response
    owner: str
    checkpoint: TokenCountCheckpoint | None = None
    path: Path = ()
    log_bytes: int = 0


class CommitResult(Enum):
    COMMITTED = auto()
    # The response or its conversation was deleted.
    DELETED = auto()
    # Another gateway has taken the turn over: its answer is the one in history.
    FENCED_OFF = auto()


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """Its items are in the thread, from `first_position` to `last_position`. `owner` is the gateway that runs, or ran,
    the turn; it writes to `segment` of the log."""

    response: Response
    input: tuple[Item, ...]
    input_digest: str
    thread_id: str
    first_position: int
    last_position: int
    owner: str
    segment: int
    items_size: int = 0

    @property
    def is_chained(self) -> bool:
        return not is_conversation_id(self.thread_id)

    @property
    def has_ended(self) -> bool:
        return self.response.status in TERMINAL


@dataclass(frozen=True, slots=True)
class InterruptedTurn:
    """What another gateway needs to continue a turn. `cancelled_ms_ago` is None unless the user has stopped it."""

    request: TurnRequest
    stored: StoredResponse
    cancelled_ms_ago: int | None


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """The gateway to notify, and when the user first asked, in Unix milliseconds by the clock of Redis."""

    owner: str
    requested_at_ms: int


@dataclass(frozen=True, slots=True)
class ReplayedEvents:
    """The log so far, oldest entry first, without a hole. `segment` is the current one and begins with the event
    `first_number`; `owner` fenced the one before it and is None for a log of one segment."""

    entries: Sequence[StoredEntry]
    segment: int
    owner: str | None
    first_number: int = 0


NOTHING_REPLAYED = ReplayedEvents((), 0, None)
