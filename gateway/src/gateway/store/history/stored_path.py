"""The path that a chain began with, as its hash contains it: flattened, so that no read follows link after link."""

import msgspec

from gateway.turn.records import Path, Run

_decode = msgspec.json.Decoder(tuple[Run, ...]).decode


def encode_path(path: Path) -> bytes:
    """`[["THREAD", POSITION], …]`"""
    return msgspec.json.encode(path)


def decode_path(stored: bytes | None) -> Path:
    """A conversation, and a chain that began on its own or in an earlier version, has none."""
    return () if stored is None else _decode(stored)
