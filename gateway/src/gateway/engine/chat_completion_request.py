"""A chat completion as the engine gets it."""

from collections.abc import Sequence
from typing import Any

from gateway.engine import request_fields as chat
from gateway.inference import OutputOptions, PromptMessage, PromptToolCall, Sampling
from gateway.protocol.chat_completions import ChatCompletion
from gateway.protocol.chat_messages import (
    AssistantMessage,
    ChatMessage,
    DeveloperMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)


def prompts(messages: Sequence[ChatMessage]) -> tuple[PromptMessage, ...]:
    """One for each: what a client wrote itself is not rearranged."""
    return tuple(_prompt(message) for message in messages)


def form(asked: ChatCompletion) -> OutputOptions:
    return OutputOptions(
        tools=asked.functions,
        tool_choice=asked.choice or "auto",
        parallel_tool_calls=asked.parallel_tool_calls is not False,
        format=asked.format,
        reasoning_effort=asked.reasoning_effort,
    )


def request(asked: ChatCompletion, sampling: Sampling) -> dict[str, Any]:
    """Usage is always asked for, since it is accounted."""
    fields = chat.request(prompts(asked.messages), sampling, form(asked))
    for message, told in zip(asked.messages, fields["messages"], strict=True):
        if message.name is not None:
            told["name"] = message.name
    if asked.stop:
        fields["stop"] = asked.stop
    if asked.seed is not None:
        fields["seed"] = asked.seed
    if asked.stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    return fields


def _prompt(message: ChatMessage) -> PromptMessage:
    match message:
        case AssistantMessage():
            calls = (PromptToolCall(call.id, call.function.name, call.function.arguments) for call in message.calls)
            return PromptMessage("assistant", message.text, tuple(calls))
        case ToolMessage():
            return PromptMessage("tool", message.text, call_id=message.tool_call_id)
        case SystemMessage() | DeveloperMessage():  # which some templates refuse
            return PromptMessage("system", message.text)
        case UserMessage():
            return PromptMessage("user", message.text)
