"""What is stored of a turn and of the thread it belongs to: the values that use cases and adapters exchange.

A thread is a conversation, or a chain of responses outside any conversation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from gateway.context.prompt import TokenCountCheckpoint
from gateway.protocol.ids import is_conversation_id, position_in
from gateway.protocol.items import Item
from gateway.protocol.resources import TERMINAL, Generation, Response
from gateway.turn.log_entry import StoredEntry
from gateway.turn.turn_request import TurnRequest

_NO_GENERATION = Generation()


@dataclass(frozen=True, slots=True)
class ThreadSnapshot:
    """The newest items of a thread, oldest first. `older_count` items stand before them; of these the `head` is read
    too: the instructions that begin the thread. New items take the positions from `next_position` on. `read_bytes` is
    the size of the items, as they are stored."""

    items: list[Item]
    next_position: int
    checkpoint: TokenCountCheckpoint | None = None
    generation: Generation = _NO_GENERATION
    has_title: bool = True
    older_count: int = 0
    head: tuple[Item, ...] = ()
    read_bytes: int = 0

    @property
    def first_position(self) -> int:
        """Older items have lower positions."""
        return (position_in(self.items[0].id) or 0) if self.items else self.next_position


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A turn to accept. `copied` are the items that a new chain begins with."""

    request: TurnRequest
    thread_id: str
    response: Response
    input: Sequence[Item]
    owner: str
    copied: Sequence[Item] = ()
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """The end of a turn that `owner` ran. `checkpoint` is None where its count proves nothing for the next turn."""

    user_id: str
    thread_id: str
    response: Response
    owner: str
    checkpoint: TokenCountCheckpoint | None = None


class CommitResult(Enum):
    COMMITTED = auto()
    # The response or its conversation was deleted.
    DELETED = auto()
    # Another gateway has taken the turn over: its answer is the one in history.
    FENCED_OFF = auto()


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """Its items are in the thread up to `last_position`. `owner` is the gateway that runs, or ran, the turn; it writes
    to `segment` of the log."""

    response: Response
    input: tuple[Item, ...]
    thread_id: str
    last_position: int
    owner: str
    segment: int

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
