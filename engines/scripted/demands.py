"""What a request demands of the answer beside its prompt, where a model would be held to it by a grammar."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from engines.scripted.errors import BadRequest
from engines.scripted.schemas import least_json
from engines.scripted.template import Call
from engines.scripted.tools import Choice, NamedTool, Part, Tool


class NamedSchema(Part):
    name: str
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class ResponseFormat(Part):
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
        return least_json(self.json_schema.schema_)


class StructuredOutputs(Part):
    json_: dict[str, Any] | None = Field(default=None, alias="json")
    choice: list[str] | None = None

    def instance(self) -> str | None:
        """Raises BadGrammar."""
        if self.json_ is not None:
            return least_json(self.json_)
        return self.choice[0] if self.choice else None


@dataclass(frozen=True, slots=True)
class Demand:
    # Calls of which one must be made; empty if none must.
    calls: tuple[Call, ...] = ()
    # The text that satisfies the schema of the answer.
    instance: str | None = None


def completed(calls: Iterable[Call], tools: Iterable[Tool]) -> tuple[Call, ...]:
    """With the least arguments where a script has not said any. Raises BadGrammar."""
    least = {tool.name: tool.least_arguments for tool in tools}
    return tuple(
        call if call.arguments else Call(call.name, least[call.name]() if call.name in least else "{}")
        for call in calls
    )


def demand_of(
    tools: Sequence[Tool],
    choice: Choice,
    response_format: ResponseFormat | None,
    structured_outputs: StructuredOutputs | None,
) -> Demand:
    """Raises BadRequest."""
    if tools and (choice == "required" or isinstance(choice, NamedTool)):
        wanted = [tool for tool in tools if choice == "required" or tool.name == choice.function.name]
        return Demand(completed((Call(tool.name, "") for tool in wanted), wanted))
    instance = response_format.instance() if response_format else None
    if instance is None and structured_outputs:
        instance = structured_outputs.instance()
    return Demand((), instance)
