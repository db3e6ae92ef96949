"""How an event is kept in a stream: a delta in a few short fields, with the token ids it was made of; the few others
as they are on the wire."""

import struct
from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class Entry:
    """An event with the token ids behind it: from the one before up to the last that it shows."""

    event: Event
    token_ids: tuple[int, ...] = ()

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
        }


def is_last(fields: Fields) -> bool:
    return b"end" in fields


def frame_of(entry_id: bytes, fields: Fields) -> str:
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


def token_ids_of(fields: Fields) -> tuple[int, ...]:
    packed = fields.get(b"t", b"")
    return struct.unpack(f"<{len(packed) // 4}I", packed)
