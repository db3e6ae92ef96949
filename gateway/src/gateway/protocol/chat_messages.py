"""The messages of a chat completion, as OpenAI's clients send them."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.errors import UnsupportedContent, UnsupportedParameter
from gateway.protocol.limits import Opaque

ParticipantName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text", forbid_unknown_fields=True):
    text: str


Content = str | tuple[TextPart, ...]


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="role", forbid_unknown_fields=True):
    content: Content
    name: ParticipantName | None = None

    @property
    def text(self) -> str:
        return text_of(self.content)


class SystemMessage(_Message, frozen=True, tag="system"):
    pass


class DeveloperMessage(_Message, frozen=True, tag="developer"):
    pass


class UserMessage(_Message, frozen=True, tag="user"):
    pass


class ToolMessage(_Message, frozen=True, kw_only=True, tag="tool"):
    tool_call_id: Opaque


class CalledFunction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`arguments` is JSON text, as the model generated it; `parsed_arguments` is what a client's helpers add."""

    name: Opaque
    arguments: str
    parsed_arguments: Any = None


class ToolCall(msgspec.Struct, frozen=True, tag_field="type", tag="function", forbid_unknown_fields=True):
    """`index` comes from a stream; the order of the calls has the same information."""

    id: Opaque
    function: CalledFunction
    index: int | None = None


class AssistantMessage(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="role", tag="assistant", forbid_unknown_fields=True
):
    """Clients send a message back as they received it, so the other fields of an answer are accepted, and so is what
    their helpers add (`parsed`). Reasoning is never sent to a model again: no chat template expects it."""

    content: Content | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    name: ParticipantName | None = None
    refusal: None = None
    annotations: tuple[()] | None = None
    audio: None = None
    function_call: None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    parsed: Any = None

    @property
    def text(self) -> str:
        return text_of(self.content or "")

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return self.tool_calls or ()


ChatMessage = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


def text_of(content: Content) -> str:
    """Joins the parts as vLLM does, so that the prompt has the same number of tokens."""
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


def reject_unsupported_content(messages: list[Any]) -> None:
    """Raises UnsupportedContent (an image, for example) or UnsupportedParameter (a custom tool's call)."""
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            continue
        for number, kind in _types(message.get("content")):
            if kind != "text":
                raise UnsupportedContent(kind, f"messages[{index}].content[{number}]")
        for number, kind in _types(message.get("tool_calls")):
            if kind != "function":
                raise UnsupportedParameter(f"messages[{index}].tool_calls[{number}].type")


def _types(parts: object) -> list[tuple[int, str]]:
    found = enumerate(parts if isinstance(parts, list) else ())
    kinds = [(number, part.get("type")) for number, part in found if isinstance(part, Mapping)]
    return [(number, kind) for number, kind in kinds if isinstance(kind, str)]
