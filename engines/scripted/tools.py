"""Function tools: as a request brings them, as the model is told of them, and what of it vLLM 0.32 refuses."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from engines.scripted.errors import BadRequest
from engines.scripted.schemas import least_json

_USAGE: Final = 'Correct usage: `{"type": "function", "function": {"name": "my_function"}}`'


class Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Function(Part):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Part):
    type: Literal["function"] = "function"
    function: Function

    @property
    def name(self) -> str:
        return self.function.name

    def told(self) -> dict[str, Any]:
        """What the chat template prints: only `strict` is left out when it was not said."""
        function = self.function.model_dump()
        if function["strict"] is None:
            del function["strict"]
        return {"type": self.type, "function": function}

    def least_arguments(self) -> str:
        """Raises BadGrammar."""
        return least_json(self.function.parameters or {"type": "object"})


class NamedFunction(Part):
    name: str


class NamedTool(Part):
    type: Literal["function"] = "function"
    function: NamedFunction


Choice = Literal["none", "auto", "required"] | NamedTool | None


def check_choice(data: dict[str, Any]) -> None:
    """Before the schema is looked at, as vLLM does; an unsaid choice becomes "auto"."""
    tools = data.get("tools")
    if tools == []:
        told = "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely."
        raise BadRequest(told, param="tools")
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
        told = (
            f'Invalid value for `tool_choice`: {choice}! Only named tools, "none", "auto" or "required" are supported.'
        )
        raise BadRequest(told, param="tool_choice")


def check_parser(tools: object, choice: Choice, parser: str) -> None:
    if parser or not tools or choice in (None, "none"):
        return
    if choice == "auto":
        needed = "--enable-auto-tool-choice and --tool-call-parser"
        raise BadRequest(f'"auto" tool choice requires {needed} to be set')
    told = f'function "{choice.function.name}"' if isinstance(choice, NamedTool) else f'"{choice}"'
    raise BadRequest(f"tool_choice={told} requires --tool-call-parser to be set")


def _check_name(function: object, tools: object) -> None:
    if not isinstance(function, dict):
        told = f"Invalid value for `function`: `{function}` in `tool_choice`! {_USAGE}"
        raise BadRequest(told, param="tool_choice.function")
    if "name" not in function:
        told = f"Expected field `name` in `function` in `tool_choice`! {_USAGE}"
        raise BadRequest(told, param="tool_choice.function.name")
    if function["name"] not in _names_in(tools):
        told = "The tool specified in `tool_choice` does not match any of the specified `tools`"
        raise BadRequest(told, param="tool_choice")


def _names_in(tools: object) -> list[Any]:
    """As far as they can be read; their schema is looked at later."""
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return [function.get("name") for function in functions if isinstance(function, dict)]
