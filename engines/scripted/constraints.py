"""Constraints on the answer that vLLM enforces with a grammar: required calls and schemas."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from engines.scripted.errors import BadRequest
from engines.scripted.schemas import minimal_json
from engines.scripted.template import Call
from engines.scripted.tools import NamedTool, RequestPart, Tool, ToolChoice


class NamedSchema(RequestPart):
    name: str
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class ResponseFormat(RequestPart):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    def instance(self) -> str | None:
        """Raises BadRequest."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return "{}"
        if self.json_schema is None or self.json_schema.schema_ is None:
            raise BadRequest("You must use one kind of structured outputs constraint but none are specified")
        return minimal_json(self.json_schema.schema_)


class StructuredOutputs(RequestPart):
    json_: dict[str, Any] | None = Field(default=None, alias="json")
    choice: list[str] | None = None

    def instance(self) -> str | None:
        """Raises BadGrammar."""
        if self.json_ is not None:
            return minimal_json(self.json_)
        return self.choice[0] if self.choice else None


@dataclass(frozen=True, slots=True)
class Constraint:
    # The answer must be one of these calls; empty if no call is required.
    calls: tuple[Call, ...] = ()
    # A text that satisfies the answer's schema.
    instance: str | None = None


def with_arguments(calls: Iterable[Call], tools: Iterable[Tool]) -> tuple[Call, ...]:
    """Calls without arguments get minimal ones. Raises BadGrammar."""
    minimal = {tool.name: tool.minimal_arguments for tool in tools}
    return tuple(
        call if call.arguments else Call(call.name, minimal[call.name]() if call.name in minimal else "{}")
        for call in calls
    )


def constraint_of(
    tools: Sequence[Tool],
    choice: ToolChoice,
    response_format: ResponseFormat | None,
    structured_outputs: StructuredOutputs | None,
) -> Constraint:
    """Raises BadRequest."""
    if tools and (choice == "required" or isinstance(choice, NamedTool)):
        allowed = [tool for tool in tools if choice == "required" or tool.name == choice.function.name]
        return Constraint(with_arguments((Call(tool.name, "") for tool in allowed), allowed))
    instance = response_format.instance() if response_format else None
    if instance is None and structured_outputs:
        instance = structured_outputs.instance()
    return Constraint((), instance)
