"""Rules between the fields of a body, as a schema of OpenAPI says them. A null is as good as an absent field."""

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]

_SAYS_NOTHING = {"enum": ["none", "auto", None]}


def given(name: str, value: Schema | None = None) -> Schema:
    return {"required": [name], "properties": {name: value or {"not": {"type": "null"}}}}


def not_both(one: Schema, other: Schema) -> Schema:
    return {"not": {"allOf": [one, other]}}


def one_of(*alternatives: Schema) -> Schema:
    return {"anyOf": list(alternatives)}


def text_or_items(name: str) -> Schema:
    """That say something."""
    return given(name, {"anyOf": [{"type": "string", "pattern": r"\S"}, {"type": "array", "minItems": 1}]})


NEEDS_TOOLS = one_of({"properties": {"tool_choice": _SAYS_NOTHING}}, given("tools", {"type": "array", "minItems": 1}))
RESPONSE: Sequence[Schema] = (
    text_or_items("input"),
    not_both(given("conversation"), given("previous_response_id")),
    not_both(given("conversation"), given("store", {"const": False})),
    not_both(given("background", {"const": True}), given("store", {"const": False})),
    NEEDS_TOOLS,
)
COUNT: Sequence[Schema] = (not_both(given("conversation"), given("previous_response_id")), NEEDS_TOOLS)
COMPACTION: Sequence[Schema] = (one_of(text_or_items("input"), given("previous_response_id")),)
CHAT: Sequence[Schema] = (
    one_of({"properties": {"stream_options": {"type": "null"}}}, given("stream", {"const": True})),
    NEEDS_TOOLS,
)
