"""Rules between the fields of a body, as JSON Schema in the OpenAPI document. A null counts as an absent field."""

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]

_NEEDS_NO_TOOLS = {"enum": ["none", "auto", None]}


def present(name: str, value: Schema | None = None) -> Schema:
    return {"required": [name], "properties": {name: value or {"not": {"type": "null"}}}}


def not_both(one: Schema, other: Schema) -> Schema:
    return {"not": {"allOf": [one, other]}}


def any_of(*alternatives: Schema) -> Schema:
    return {"anyOf": list(alternatives)}


def non_empty_text_or_items(name: str) -> Schema:
    return present(name, {"anyOf": [{"type": "string", "pattern": r"\S"}, {"type": "array", "minItems": 1}]})


TOOL_CHOICE_NEEDS_TOOLS = any_of(
    {"properties": {"tool_choice": _NEEDS_NO_TOOLS}}, present("tools", {"type": "array", "minItems": 1})
)
RESPONSE: Sequence[Schema] = (
    non_empty_text_or_items("input"),
    not_both(present("conversation"), present("previous_response_id")),
    not_both(present("conversation"), present("store", {"const": False})),
    not_both(present("background", {"const": True}), present("store", {"const": False})),
    TOOL_CHOICE_NEEDS_TOOLS,
)
COUNT: Sequence[Schema] = (
    not_both(present("conversation"), present("previous_response_id")),
    TOOL_CHOICE_NEEDS_TOOLS,
)
COMPACTION: Sequence[Schema] = (any_of(non_empty_text_or_items("input"), present("previous_response_id")),)
CHAT: Sequence[Schema] = (
    any_of({"properties": {"stream_options": {"type": "null"}}}, present("stream", {"const": True})),
    TOOL_CHOICE_NEEDS_TOOLS,
)
