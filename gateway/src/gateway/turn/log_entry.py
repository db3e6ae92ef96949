"""An event as an entry of a Redis stream: a delta in a few short fields with its token ids, any other event as it is on
the wire."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.protocol.events import (
    ArgumentsDelta,
    Delta,
    Event,
    OutputTextDelta,
    ReasoningDelta,
    Terminal,
    frame,
)

Fields = Mapping[bytes, bytes]
StoredEntry = tuple[bytes, Fields]
"""Its id, and its fields."""

_LETTERS: dict[type[Delta], bytes] = {OutputTextDelta: b"t", ReasoningDelta: b"r", ArgumentsDelta: b"a"}
_TERMINAL = b"1"
# The id of the item and the other short fields, as a stream stores them.
_ENTRY_BYTES = 80

# As earlier versions stored it.
FENCE_FIELD = "seal"
# The last id a stream can have. Redis refuses every entry after it, so the gateway that adds it owns the turn.
FENCE_ID = "18446744073709551615-18446744073709551615"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An event with its token ids: those since the previous delta, up to the last one it shows.

    `dropped`: this many ids before them are void, because the character they began was generated again.
    `prompt_tokens` is the size of the prompt, with the first delta only. `finish_reason` is set on the last delta if
    the engine sent both in one chunk: its ids may then include the end-of-sequence token, which cannot be continued.
    """

    event: Event
    token_ids: tuple[int, ...] = ()
    dropped: int = 0
    prompt_tokens: int = 0
    finish_reason: str = ""

    @property
    def id(self) -> str:
        """Derived from the number, so that an entry cannot be added twice. A stream has no id 0-0."""
        return f"{self.event.sequence_number + 1}-0"

    @property
    def frame(self) -> str:
        return frame(self.event)

    @property
    def size(self) -> int:
        """Of what is stored of it, in bytes, with what the stream adds."""
        if isinstance(self.event, Delta):
            return len(self.event.delta.encode()) + 4 * len(self.token_ids) + _ENTRY_BYTES
        return len(self.frame.encode()) + _ENTRY_BYTES

    @property
    def is_terminal(self) -> bool:
        return isinstance(self.event, Terminal)

    def fields(self) -> dict[bytes, bytes]:
        event = self.event
        if not isinstance(event, Delta):
            return {b"e": self.frame.encode(), **({b"end": _TERMINAL} if self.is_terminal else {})}
        return {
            b"k": _LETTERS[type(event)],
            b"i": event.item_id.encode(),
            b"o": str(event.output_index).encode(),
            b"d": event.delta.encode(),
            b"t": struct.pack(f"<{len(self.token_ids)}I", *self.token_ids),
            **({b"x": str(self.dropped).encode()} if self.dropped else {}),
            **({b"p": str(self.prompt_tokens).encode()} if self.prompt_tokens else {}),
            **({b"f": self.finish_reason.encode()} if self.finish_reason else {}),
        }


def number_of(entry_id: bytes) -> int:
    """The `sequence_number` of the event that is stored under this id."""
    return int(entry_id.partition(b"-")[0]) - 1


def up_to_hole(entries: Iterable[StoredEntry], first: int) -> list[StoredEntry]:
    """The entries of a segment that continue a log of `first` events. What is behind a hole is not part of the log."""
    whole: list[StoredEntry] = []
    for entry in entries:
        number = number_of(entry[0])
        if number > first + len(whole):
            break
        if number == first + len(whole):
            whole.append(entry)
    return whole


def is_terminal(fields: Fields) -> bool:
    return b"end" in fields


def fenced_by(fields: Fields) -> str | None:
    """The gateway that took the turn over at this entry; None for an event."""
    by = fields.get(FENCE_FIELD.encode())
    return None if by is None else by.decode()


def decode_frame(entry_id: bytes, fields: Fields) -> str:
    """The frame, byte for byte as the owner's own followers receive it."""
    if b"e" in fields:
        return fields[b"e"].decode()
    number, index = number_of(entry_id), int(fields[b"o"])
    item_id, delta = fields[b"i"].decode(), fields[b"d"].decode()
    match fields[b"k"]:
        case b"t":
            return frame(OutputTextDelta(number, item_id, index, 0, delta))
        case b"r":
            return frame(ReasoningDelta(number, item_id, index, 0, delta))
        case _:
            return frame(ArgumentsDelta(number, item_id, index, delta))


def token_ids(entries: Iterable[Fields]) -> list[int]:
    """Of the whole output so far."""
    ids: list[int] = []
    for fields in entries:
        packed = fields.get(b"t", b"")
        del ids[len(ids) - int(fields.get(b"x", b"0")) :]
        ids += struct.unpack(f"<{len(packed) // 4}I", packed)
    return ids


def prompt_tokens(entries: Iterable[Fields]) -> int:
    """0 without any delta."""
    return next((int(fields[b"p"]) for fields in entries if b"p" in fields), 0)


def finish_reason(entries: Iterable[Fields]) -> str | None:
    """None unless the last delta carries it."""
    return next((fields[b"f"].decode() for fields in entries if b"f" in fields), None)


def is_fence_rejection(refusal: Exception) -> bool:
    """How Redis refuses an entry after a fence."""
    return "exhausted the last possible ID" in str(refusal)
