"""JSON from outside, read strictly: what is not one well-formed object is refused, and so is a field we do not know."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from gateway.errors import InvalidRequest, NotJson, UnsupportedParameter

T = TypeVar("T")


def json_object(data: bytes) -> dict[str, Any]:
    """Raises NotJson, also for NaN, numbers beyond a float, lone surrogates, and a name given twice: two readers may
    choose differently between its values (RFC 8259, section 4)."""
    try:
        value = msgspec.json.decode(data)
        if not isinstance(value, dict):
            raise NotJson(type(value).__name__)
        json.loads(data, object_pairs_hook=_once)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise NotJson(f"something else: {exc}") from exc
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
        raise InvalidRequest(message, param=_param(message), code=code) from exc


def _once(pairs: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        twice = next(name for index, (name, _) in enumerate(pairs) if name in [other for other, _ in pairs[:index]])
        raise NotJson(f"one that has {twice[:100]!r} twice")


def _param(message: str) -> str | None:
    """msgspec ends its messages in "- at `$.input[0].role`", or quotes the field that is unknown or missing."""
    path = message.rpartition("`$.")[2].removesuffix("`") if "`$." in message else None
    if "unknown field" in message or "missing required field" in message:
        field = message.split("`")[1]
        return f"{path}.{field}" if path else field
    return path
