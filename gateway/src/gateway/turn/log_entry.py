"""How an event is kept in a stream: a delta in a few short fields, with the token ids it was made of; the few others
as they are on the wire."""

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

_LETTERS: dict[type[Delta], bytes] = {OutputTextDelta: b"t", ReasoningDelta: b"r", ArgumentsDelta: b"a"}
_TERMINAL = b"1"

# The last id a stream can have: Redis refuses every entry after it, so whoever adds it has the turn from then on.
FENCE_ID = "18446744073709551615-18446744073709551615"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An event with the token ids behind it: from the one before up to the last that it shows. `dropped` of the ids
    before them do not count: they were the beginning of a character that was made anew. `prompt_tokens`: what the
    engine has read, with the first delta only; `finish_reason` with the last one, where the engine has told both in
    one chunk: its ids may then end with one that ends a text, behind which there is nothing to go on with."""

    event: Event
    token_ids: tuple[int, ...] = ()
    dropped: int = 0
    prompt_tokens: int = 0
    finish_reason: str = ""

    @property
    def id(self) -> str:
        """Derived from the number, so that an entry can not be added twice; a stream has no id 0-0."""
        return f"{self.event.sequence_number + 1}-0"

    @property
    def frame(self) -> str:
        return frame(self.event)

    @property
    def is_last(self) -> bool:
        return isinstance(self.event, Terminal)

    def fields(self) -> dict[bytes, bytes]:
        event = self.event
        if not isinstance(event, Delta):
            return {b"e": self.frame.encode(), **({b"end": _TERMINAL} if self.is_last else {})}
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


def is_last(fields: Fields) -> bool:
    return b"end" in fields


def fenced_by(fields: Fields) -> str | None:
    """The gateway that has taken the turn over here; None for an event."""
    by = fields.get(b"seal")
    return None if by is None else by.decode()


def decode_frame(entry_id: bytes, fields: Fields) -> str:
    """Byte for byte the frame that the owner's followers get."""
    if b"e" in fields:
        return fields[b"e"].decode()
    number, index = int(entry_id.partition(b"-")[0]) - 1, int(fields[b"o"])
    item_id, delta = fields[b"i"].decode(), fields[b"d"].decode()
    match fields[b"k"]:
        case b"t":
            return frame(OutputTextDelta(number, item_id, index, 0, delta))
        case b"r":
            return frame(ReasoningDelta(number, item_id, index, 0, delta))
        case _:
            return frame(ArgumentsDelta(number, item_id, index, delta))


def token_ids(entries: Iterable[Fields]) -> list[int]:
    """Those of the whole answer so far."""
    ids: list[int] = []
    for fields in entries:
        packed = fields.get(b"t", b"")
        del ids[len(ids) - int(fields.get(b"x", b"0")) :]
        ids += struct.unpack(f"<{len(packed) // 4}I", packed)
    return ids


def prompt_tokens(entries: Iterable[Fields]) -> int:
    """0 while no delta was kept."""
    return next((int(fields[b"p"]) for fields in entries if b"p" in fields), 0)


def finish_reason(entries: Iterable[Fields]) -> str | None:
    """Why the engine ended, None while it has not, as far as was kept."""
    return next((fields[b"f"].decode() for fields in entries if b"f" in fields), None)


def is_fence_rejection(refusal: Exception) -> bool:
    """Redis' word for what comes behind a seal."""
    return "exhausted the last possible ID" in str(refusal)
