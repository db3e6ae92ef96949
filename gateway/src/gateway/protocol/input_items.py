"""Items as a client sends them, before they get an id and a position."""

from typing import Any

import msgspec

from gateway.errors import InvalidRequest, UnsupportedContent
from gateway.protocol.ids import new_item_id
from gateway.protocol.items import (
    Compaction,
    FunctionCall,
    FunctionCallOutput,
    InputText,
    Item,
    Message,
    MessageRole,
    OutputText,
    Phase,
    Reasoning,
    ReasoningText,
    SummaryText,
)
from gateway.protocol.limits import Id, Opaque

_PART_TYPES = frozenset({"input_text", "output_text", "reasoning_text", "summary_text"})
_ITEM_TYPES = frozenset({"message", "function_call", "function_call_output", "reasoning", "compaction"})


class _Input(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True):
    """An item as a client sends it. Its `id` and `status` are accepted, because SDKs send items of an earlier response
    back, and replaced."""


class InputMessage(_Input, frozen=True, tag="message"):
    role: MessageRole
    content: str | tuple[InputText | OutputText, ...]
    id: Id | None = None
    status: Opaque | None = None
    phase: Phase | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)

    def at(self, position: int) -> Item:
        kind = OutputText if self.role == "assistant" else InputText
        content = (kind(self.text),)
        return Message(new_item_id("msg", position), self.role, "completed", content, self.phase or msgspec.UNSET)


class InputFunctionCall(_Input, frozen=True, tag="function_call"):
    call_id: Id
    name: Opaque
    arguments: str
    id: Id | None = None
    status: Opaque | None = None

    def at(self, position: int) -> Item:
        return FunctionCall(new_item_id("fc", position), self.call_id, self.name, self.arguments, "completed")


class InputFunctionCallOutput(_Input, frozen=True, tag="function_call_output"):
    call_id: Id
    output: str | tuple[InputText, ...]
    id: Id | None = None
    status: Opaque | None = None

    def at(self, position: int) -> Item:
        output = self.output if isinstance(self.output, str) else "".join(part.text for part in self.output)
        return FunctionCallOutput(new_item_id("fco", position), self.call_id, output, "completed")


class InputReasoning(_Input, frozen=True, tag="reasoning"):
    summary: tuple[SummaryText, ...] = ()
    content: tuple[ReasoningText, ...] | None = None
    encrypted_content: None = None
    id: Id | None = None
    status: Opaque | None = None

    def at(self, position: int) -> Item:
        return Reasoning(new_item_id("rs", position), "completed", content=self.content or ())


class InputCompaction(_Input, frozen=True, tag="compaction"):
    encrypted_content: str
    id: Id | None = None
    created_by: Opaque | None = None

    def at(self, position: int) -> Item:
        return Compaction(new_item_id("cmp", position), self.encrypted_content)


InputItem = InputMessage | InputFunctionCall | InputFunctionCallOutput | InputReasoning | InputCompaction


def normalize_input_items(items: list[Any], param: str) -> list[Any]:
    """Returns the items, each with its `type`, which a message may omit. Raises UnsupportedContent for the item or
    part at fault."""
    return [
        _normalize_item(item, f"{param}[{index}]") if isinstance(item, dict) else item
        for index, item in enumerate(items)
    ]


def _normalize_item(item: dict[str, Any], param: str) -> dict[str, Any]:
    typed = {"type": "message", **_drop_nulls(item)} if "role" in item else _drop_nulls(item)
    kind = typed.get("type")
    if isinstance(kind, str) and kind not in _ITEM_TYPES:
        raise UnsupportedContent(kind, param)
    for name in ("content", "output", "summary"):
        if isinstance(parts := typed.get(name), list):
            typed[name] = [
                _normalize_part(part, f"{param}.{name}[{number}]") if isinstance(part, dict) else part
                for number, part in enumerate(parts)
            ]
    return typed


def _normalize_part(part: dict[str, Any], param: str) -> dict[str, Any]:
    kind = part.get("type")
    if kind is None:
        # The decoder does not require it where only one type is possible.
        raise InvalidRequest("expected a content part with a `type`", param=f"{param}.type", code="invalid_value")
    if isinstance(kind, str) and kind not in _PART_TYPES:
        raise UnsupportedContent(kind, param)
    return _drop_nulls(part)


def _drop_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    """SDKs send null for fields that an item of an earlier response did not have."""
    return {name: value for name, value in fields.items() if value is not None}
