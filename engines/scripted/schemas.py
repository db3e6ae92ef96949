"""JSON schemas: the least that satisfies one. Enough of the standard for what tools and answers use."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from engines.scripted.errors import BadGrammar

_DEEPEST: Final = 64
_LONGEST: Final = 1000
_LEAST: Final[dict[str, Any]] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "null": None,
    "array": [],
    "object": {},
}


def least_json(schema: Any) -> str:
    """In the form that models write. Raises BadGrammar."""
    try:
        return json.dumps(_least(schema, schema, _DEEPEST), ensure_ascii=False)
    except (AttributeError, TypeError, KeyError, ValueError) as exc:
        raise BadGrammar(f"Schema cannot be read: {exc}") from exc


def _least(schema: Any, root: Any, depth: int) -> Any:
    if not isinstance(schema, Mapping) or not depth:
        return {} if schema is True else _refuse("Schema has no finite instance")
    for several in ("anyOf", "oneOf", "allOf"):
        if schema.get(several):
            return _least(schema[several][0], root, depth - 1)
    if "$ref" in schema:
        return _least(_resolved(schema["$ref"], root), root, depth - 1)
    return _given(schema) if schema.keys() & {"const", "enum"} else _of_type(schema, root, depth)


def _given(schema: Mapping[str, Any]) -> Any:
    if schema.get("enum") == []:
        return _refuse("enum array must not be empty")
    return schema["const"] if "const" in schema else schema["enum"][0]


def _of_type(schema: Mapping[str, Any], root: Any, depth: int) -> Any:
    kind = schema.get("type", "string" if schema.keys() & {"minLength", "pattern", "format"} else "object")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind not in _LEAST:
        return _refuse(f'Unsupported type "{kind}"')
    if kind == "object":
        properties = schema.get("properties", {})
        needed = schema.get("required", ())
        return {name: _least(properties.get(name, {}), root, depth - 1) for name in needed}
    if kind == "array":
        return [_least(schema.get("items", {}), root, depth - 1)] * min(schema.get("minItems", 0), _LONGEST)
    if kind == "string":
        return "x" * min(schema.get("minLength", 0), _LONGEST)
    if kind in ("integer", "number"):
        return _number(schema)
    return _LEAST[kind]


def _number(schema: Mapping[str, Any]) -> Any:
    """0 if it may be, else the bound that is in the way."""
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


def _refuse(why: str) -> Any:
    raise BadGrammar(why)
