"""A client's chat completion request, translated for the engine."""

from collections.abc import Sequence
from typing import Any

from gateway.engine.request_fields import request_fields
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


def prompt_messages(messages: Sequence[ChatMessage]) -> tuple[PromptMessage, ...]:
    """One for each message: a client's own prompt is not rearranged."""
    return tuple(_prompt_message(message) for message in messages)


def output_options(request: ChatCompletion) -> OutputOptions:
    return OutputOptions(
        tools=request.functions,
        tool_choice=request.choice or "auto",
        parallel_tool_calls=request.parallel_tool_calls is not False,
        format=request.format,
        reasoning_effort=request.reasoning_effort,
    )


async def chat_completion_fields(request: ChatCompletion, sampling: Sampling) -> dict[str, Any]:
    """Always requests the usage, which is recorded for the user."""
    fields = await request_fields(prompt_messages(request.messages), sampling, output_options(request))
    for message, engine_message in zip(request.messages, fields["messages"], strict=True):
        if message.name is not None:
            engine_message["name"] = message.name
    if request.stop:
        fields["stop"] = request.stop
    if request.seed is not None:
        fields["seed"] = request.seed
    if request.stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    return fields


def _prompt_message(message: ChatMessage) -> PromptMessage:
    match message:
        case AssistantMessage():
            calls = (PromptToolCall(call.id, call.function.name, call.function.arguments) for call in message.calls)
            return PromptMessage("assistant", message.text, tuple(calls))
        case ToolMessage():
            return PromptMessage("tool", message.text, call_id=message.tool_call_id)
        case SystemMessage() | DeveloperMessage():  # some chat templates refuse the role `developer`
            return PromptMessage("system", message.text)
        case UserMessage():
            return PromptMessage("user", message.text)
