"""A chat's messages, as vLLM 0.32 reads them and hands them to the template."""

import json
from typing import Any

from pydantic import field_validator

from engines.scripted.template import Call, Message
from engines.scripted.tools import Part


class ContentPart(Part):
    type: str
    text: str = ""


class CalledFunction(Part):
    name: str
    arguments: str = ""


class ToolCall(Part):
    function: CalledFunction

    def told(self) -> Call:
        """Arguments that are no JSON object become an empty one, without a word."""
        try:
            arguments = json.loads(self.function.arguments)
        except ValueError:
            arguments = {}
        kept = arguments if isinstance(arguments, dict) else {}
        return Call(self.function.name, json.dumps(kept, ensure_ascii=False))


class ChatMessage(Part):
    role: str
    content: str | list[ContentPart] | None = None
    tool_calls: tuple[ToolCall, ...] = ()

    @field_validator("tool_calls", mode="before")
    @classmethod
    def _none_is_no_call(cls, value: Any) -> Any:
        return () if value is None else value

    @property
    def has_media(self) -> bool:
        return isinstance(self.content, list) and any(part.type != "text" for part in self.content)

    def flat(self) -> Message:
        # vLLM renders "developer" as a system turn and joins text parts with a line break.
        role = "system" if self.role == "developer" else self.role
        calls = tuple(call.told() for call in self.tool_calls)
        if isinstance(self.content, list):
            return Message(role, "\n".join(part.text for part in self.content), calls)
        return Message(role, self.content or "", calls)
