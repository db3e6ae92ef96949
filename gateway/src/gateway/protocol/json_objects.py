"""JSON from outside, read strictly: what is not one well-formed object is refused, and so is a field we do not know."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from gateway.errors import InvalidJson, InvalidRequest, UnsupportedParameter

T = TypeVar("T")

# Schemas that people write are nested ten or twenty deep.
MAX_DEPTH = 128
_QUOTED_AT_MOST = 300


def json_object(data: bytes) -> dict[str, Any]:
    """Raises InvalidJson, also for NaN, numbers beyond a float, lone surrogates, nesting above MAX_DEPTH, and a name
    given twice: two readers may choose differently between its values (RFC 8259, section 4)."""
    try:
        value = msgspec.json.decode(data)
        if not isinstance(value, dict):
            raise InvalidJson(type(value).__name__)
        _refuse_depth(value)
        json.loads(data, object_pairs_hook=refuse_repetition)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidJson(f"something else: {exc}") from exc
    return value


def without_neutral(fields: Mapping[str, Any], neutral: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """The fields but for those of `neutral`, which may be there with one of the given values only.

    Raises UnsupportedParameter.
    """
    rest = dict(fields)
    for name, accepted in neutral.items():
        # `True == 1`: compare types too, so that `stream: 1` is not taken for a boolean
        value = rest.pop(name, None)
        if not any(value == one and type(value) is type(one) for one in accepted):
            raise UnsupportedParameter(name)
    return rest


def converted(fields: dict[str, Any], kind: type[T]) -> T:
    """Raises InvalidRequest with the field at fault in `param`."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as exc:
        message = str(exc)
        code = "unknown_parameter" if "unknown field" in message else "invalid_value"
        param = _param(message)
        raise InvalidRequest(_shortened(message), param=param and _shortened(param), code=code) from exc


def refuse_repetition(pairs: list[tuple[str, Any]]) -> None:
    """In one pass: an object may have as many names as a body has room for, and everybody waits for it."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise InvalidJson(f"one that has {name[:100]!r} twice")
        seen.add(name)


def _refuse_depth(value: Any) -> None:
    """Level by level: what is read here is written again deeper in the stack, where Python would give up."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [one for outer in level for one in _inside(outer) if isinstance(one, dict | list)]
        if not level:
            return
    raise InvalidJson(f"one that is nested deeper than {MAX_DEPTH}")


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _shortened(text: str) -> str:
    """A name may be as long as the body that it came in."""
    return text if len(text) <= _QUOTED_AT_MOST else f"{text[:_QUOTED_AT_MOST]}…"


def _param(message: str) -> str | None:
    """msgspec ends its messages in "- at `$.input[0].role`", or quotes the field that is unknown or missing."""
    path = message.rpartition("`$.")[2].removesuffix("`") if "`$." in message else None
    if "unknown field" in message or "missing required field" in message:
        field = message.split("`")[1]
        return f"{path}.{field}" if path else field
    return path
