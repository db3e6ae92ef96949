"""Strict decoding of JSON from clients: anything but one well-formed object is an error, and so is an unknown field."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from gateway.errors import InvalidJson, InvalidRequest, UnsupportedParameter

T = TypeVar("T")

# Real schemas are nested ten or twenty levels deep.
MAX_DEPTH = 128
_MAX_QUOTED_LENGTH = 300


def parse_json_object(data: bytes) -> dict[str, Any]:
    """Raises InvalidJson, also for NaN, numbers beyond a float, lone surrogates, nesting above MAX_DEPTH, and duplicate
    names: two parsers may use different values of one (RFC 8259, section 4)."""
    try:
        value = msgspec.json.decode(data)
        if not isinstance(value, dict):
            raise InvalidJson(type(value).__name__)
        _check_depth(value)
        json.loads(data, object_pairs_hook=reject_duplicate_names)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidJson(f"invalid JSON: {exc}") from exc
    return value


def drop_neutral(fields: Mapping[str, Any], neutral: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Returns the fields without those of `neutral`, each of which may have only the values listed there.

    Raises UnsupportedParameter.
    """
    rest = dict(fields)
    for name, accepted in neutral.items():
        # `True == 1`: compare types too, so that 1 does not count as a boolean
        value = rest.pop(name, None)
        if not any(value == one and type(value) is type(one) for one in accepted):
            raise UnsupportedParameter(name)
    return rest


def convert(fields: dict[str, Any], kind: type[T]) -> T:
    """Raises InvalidRequest with the field at fault in `param`."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as exc:
        message = str(exc)
        code = "unknown_parameter" if "unknown field" in message else "invalid_value"
        param = _param(message)
        raise InvalidRequest(_truncate(message), param=param and _truncate(param), code=code) from exc


def reject_duplicate_names(pairs: list[tuple[str, Any]]) -> None:
    """In one pass: an object may have as many names as fit into a body, and this blocks the event loop."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise InvalidJson(f"one with the duplicate name {name[:100]!r}")
        seen.add(name)


def _check_depth(value: Any) -> None:
    """Level by level, without recursion. What is decoded here is encoded again deeper in the stack, where Python's
    recursion limit would fail."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [one for outer in level for one in _children(outer) if isinstance(one, dict | list)]
        if not level:
            return
    raise InvalidJson(f"one with more than {MAX_DEPTH} levels of nesting")


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _truncate(text: str) -> str:
    """A field's name may be as long as a body."""
    return text if len(text) <= _MAX_QUOTED_LENGTH else f"{text[:_MAX_QUOTED_LENGTH]}…"


def _param(message: str) -> str | None:
    """msgspec's messages end in "- at `$.input[0].role`", or quote the unknown or missing field."""
    path = message.rpartition("`$.")[2].removesuffix("`") if "`$." in message else None
    if "unknown field" in message or "missing required field" in message:
        field = message.split("`")[1]
        return f"{path}.{field}" if path else field
    return path
