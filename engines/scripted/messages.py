"""A chat's messages, as vLLM 0.32 parses them and passes them to the template."""

import json
from typing import Any

from pydantic import field_validator

from engines.scripted.template import Call, Message
from engines.scripted.tools import RequestPart


class ContentPart(RequestPart):
    type: str
    text: str = ""


class CalledFunction(RequestPart):
    name: str
    arguments: str = ""


class ToolCall(RequestPart):
    function: CalledFunction

    def to_call(self) -> Call:
        """Arguments that are not a JSON object are silently replaced by an empty one."""
        try:
            arguments = json.loads(self.function.arguments)
        except ValueError:
            arguments = {}
        valid = arguments if isinstance(arguments, dict) else {}
        return Call(self.function.name, json.dumps(valid, ensure_ascii=False))


class ChatMessage(RequestPart):
    role: str
    content: str | list[ContentPart] | None = None
    tool_calls: tuple[ToolCall, ...] = ()

    @field_validator("tool_calls", mode="before")
    @classmethod
    def _null_means_no_calls(cls, value: Any) -> Any:
        return () if value is None else value

    @property
    def has_media(self) -> bool:
        return isinstance(self.content, list) and any(part.type != "text" for part in self.content)

    def flattened(self) -> Message:
        # vLLM renders "developer" as a system turn and joins text parts with a line break.
        role = "system" if self.role == "developer" else self.role
        calls = tuple(call.to_call() for call in self.tool_calls)
        if isinstance(self.content, list):
            return Message(role, "\n".join(part.text for part in self.content), calls)
        return Message(role, self.content or "", calls)
