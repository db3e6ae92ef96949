"""Function tools: their form in a request and in the prompt, and the checks of vLLM 0.32."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from engines.scripted.errors import BadRequest
from engines.scripted.schemas import minimal_json

_USAGE: Final = 'Correct usage: `{"type": "function", "function": {"name": "my_function"}}`'


class RequestPart(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Function(RequestPart):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(RequestPart):
    type: Literal["function"] = "function"
    function: Function

    @property
    def name(self) -> str:
        return self.function.name

    def to_dict(self) -> dict[str, Any]:
        """As the chat template renders it; an unset `strict` is left out."""
        function = self.function.model_dump()
        if function["strict"] is None:
            del function["strict"]
        return {"type": self.type, "function": function}

    def minimal_arguments(self) -> str:
        """Raises BadGrammar."""
        return minimal_json(self.function.parameters or {"type": "object"})


class NamedFunction(RequestPart):
    name: str


class NamedTool(RequestPart):
    type: Literal["function"] = "function"
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool | None


def check_tool_choice(data: dict[str, Any]) -> None:
    """Before schema validation, as in vLLM; a missing choice becomes "auto"."""
    tools = data.get("tools")
    if tools == []:
        message = "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely."
        raise BadRequest(message, param="tools")
    if "tool_choice" not in data and tools:
        data["tool_choice"] = "auto"
    choice = data.get("tool_choice")
    if choice is None or choice == "none":
        return
    if tools is None:
        raise BadRequest("When using `tool_choice`, `tools` must be set.", param="tool_choice")
    if isinstance(choice, dict):
        _check_name(choice.get("function"), tools)
    elif choice not in ("auto", "required"):
        message = (
            f'Invalid value for `tool_choice`: {choice}! Only named tools, "none", "auto" or "required" are supported.'
        )
        raise BadRequest(message, param="tool_choice")


def check_parser(tools: object, choice: ToolChoice, parser: str) -> None:
    if parser or not tools or choice in (None, "none"):
        return
    if choice == "auto":
        options = "--enable-auto-tool-choice and --tool-call-parser"
        raise BadRequest(f'"auto" tool choice requires {options} to be set')
    shown = f'function "{choice.function.name}"' if isinstance(choice, NamedTool) else f'"{choice}"'
    raise BadRequest(f"tool_choice={shown} requires --tool-call-parser to be set")


def _check_name(function: object, tools: object) -> None:
    if not isinstance(function, dict):
        message = f"Invalid value for `function`: `{function}` in `tool_choice`! {_USAGE}"
        raise BadRequest(message, param="tool_choice.function")
    if "name" not in function:
        message = f"Expected field `name` in `function` in `tool_choice`! {_USAGE}"
        raise BadRequest(message, param="tool_choice.function.name")
    if function["name"] not in _names_in(tools):
        message = "The tool specified in `tool_choice` does not match any of the specified `tools`"
        raise BadRequest(message, param="tool_choice")


def _names_in(tools: object) -> list[Any]:
    """Of the well-formed tools; schema validation comes later."""
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return [function.get("name") for function in functions if isinstance(function, dict)]
