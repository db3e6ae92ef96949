"""Strict decoding of JSON from clients: anything but one well-formed object is an error, and so is an unknown field."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import msgspec

from gateway.errors import InvalidJson, InvalidRequest, UnsupportedParameter
from gateway.protocol.json_size import check_json_size

T = TypeVar("T")

_MAX_QUOTED_LENGTH = 300


def parse_json_object(data: bytes) -> dict[str, Any]:
    """Raises InvalidJson, also for NaN, numbers beyond a float, lone surrogates, what check_json_size refuses, and
    duplicate names: two parsers may use different values of one (RFC 8259, section 4)."""
    check_json_size(data)
    try:
        # The standard library's parser: a number near the end of a double's range takes msgspec ten times as long.
        value = json.loads(
            data.decode(), object_pairs_hook=object_of, parse_float=_finite, parse_constant=_reject_constant
        )
        if b"\\ud" in data.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except ValueError as exc:
        raise InvalidJson(f"invalid JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise InvalidJson(type(value).__name__)
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


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises InvalidJson for a duplicate name."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise InvalidJson(f"one with the duplicate name {_duplicate(pairs)[:100]!r}")
    return value


def _duplicate(pairs: Sequence[tuple[str, Any]]) -> str:
    """In one pass: an object may have thousands of names."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            break
        seen.add(name)
    return name


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise InvalidJson(f"the number {number}, which is beyond a double")
    return value


def _reject_constant(name: str) -> NoReturn:
    raise InvalidJson(name)


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
