"""The minimal instance of a JSON schema. Covers the part of the standard that tools and answers use."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from engines.scripted.errors import BadGrammar

_MAX_DEPTH: Final = 64
_MAX_LENGTH: Final = 1000
_MINIMAL: Final[dict[str, Any]] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "null": None,
    "array": [],
    "object": {},
}


def minimal_json(schema: Any) -> str:
    """With the spacing that models write. Raises BadGrammar."""
    try:
        return json.dumps(_minimal(schema, schema, _MAX_DEPTH), ensure_ascii=False)
    except (AttributeError, TypeError, KeyError, ValueError) as exc:
        raise BadGrammar(f"Schema cannot be read: {exc}") from exc


def _minimal(schema: Any, root: Any, depth: int) -> Any:
    if not isinstance(schema, Mapping) or not depth:
        return {} if schema is True else _refuse("Schema has no finite instance")
    for several in ("anyOf", "oneOf", "allOf"):
        if schema.get(several):
            return _minimal(schema[several][0], root, depth - 1)
    if "$ref" in schema:
        return _minimal(_resolved(schema["$ref"], root), root, depth - 1)
    return _constant(schema) if schema.keys() & {"const", "enum"} else _of_type(schema, root, depth)


def _constant(schema: Mapping[str, Any]) -> Any:
    if schema.get("enum") == []:
        return _refuse("enum array must not be empty")
    return schema["const"] if "const" in schema else schema["enum"][0]


def _of_type(schema: Mapping[str, Any], root: Any, depth: int) -> Any:
    kind = schema.get("type", "string" if schema.keys() & {"minLength", "pattern", "format"} else "object")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind not in _MINIMAL:
        return _refuse(f'Unsupported type "{kind}"')
    if kind == "object":
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        return {name: _minimal(properties.get(name, {}), root, depth - 1) for name in required}
    if kind == "array":
        return [_minimal(schema.get("items", {}), root, depth - 1)] * min(schema.get("minItems", 0), _MAX_LENGTH)
    if kind == "string":
        return "x" * min(schema.get("minLength", 0), _MAX_LENGTH)
    if kind in ("integer", "number"):
        return _number(schema)
    return _MINIMAL[kind]


def _number(schema: Mapping[str, Any]) -> Any:
    """0 if it is allowed, otherwise the nearest bound."""
    low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf) + 1)
    high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf) - 1)
    return low if low > 0 else min(0, high)


def _resolved(reference: str, root: Any) -> Any:
    found = root
    for part in reference.removeprefix("#/").split("/"):
        if not isinstance(found, Mapping) or part not in found:
            return _refuse(f"Cannot find field {part} in {reference}")
        found = found[part]
    return found


def _refuse(reason: str) -> Any:
    raise BadGrammar(reason)
