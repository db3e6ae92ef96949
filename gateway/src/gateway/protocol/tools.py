"""Options for the output: functions that the model may call, and a schema for its text."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.errors import InvalidRequest, UnsupportedParameter

FunctionName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
SchemaName = FunctionName


class FunctionTool(msgspec.Struct, frozen=True, tag_field="type", tag="function", forbid_unknown_fields=True):
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


Tools = Annotated[tuple[FunctionTool, ...], Meta(max_length=128)]


class FunctionChoice(msgspec.Struct, frozen=True, tag_field="type", tag="function", forbid_unknown_fields=True):
    name: FunctionName


class AllowedTools(msgspec.Struct, frozen=True, tag_field="type", tag="allowed_tools", forbid_unknown_fields=True):
    tools: tuple[FunctionChoice, ...]
    mode: Literal["auto", "required", "none"] = "auto"


ToolChoice = Literal["none", "auto", "required"] | FunctionChoice | AllowedTools


class PlainText(msgspec.Struct, frozen=True, tag_field="type", tag="text", forbid_unknown_fields=True):
    pass


class JsonObject(msgspec.Struct, frozen=True, tag_field="type", tag="json_object", forbid_unknown_fields=True):
    pass


class JsonSchema(msgspec.Struct, frozen=True, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    name: SchemaName
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


TextFormat = PlainText | JsonObject | JsonSchema


class TextConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: TextFormat | None = PlainText()
    verbosity: Literal["medium"] | msgspec.UnsetType | None = msgspec.UNSET


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class ReasoningConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    effort: Effort | None = None
    summary: None = None


def reject_hosted_tools(tools: list[Any]) -> None:
    """Raises UnsupportedParameter, for a custom tool too."""
    for index, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if isinstance(kind, str) and kind != "function":
            raise UnsupportedParameter(f"tools[{index}].type")


def check_tool_choice(tools: Sequence[FunctionTool], choice: ToolChoice | None) -> None:
    """Raises InvalidRequest unless `tools` has the functions that `choice` names."""
    if choice == "required" and not tools:
        raise InvalidRequest("`tool_choice` is `required`, but there are no `tools`", param="tool_choice")
    chosen = choice.tools if isinstance(choice, AllowedTools) else (choice,)
    names = {tool.name for tool in tools}
    if any(isinstance(one, FunctionChoice) and one.name not in names for one in chosen):
        raise InvalidRequest("`tool_choice` names a function that is not among `tools`", param="tool_choice")
