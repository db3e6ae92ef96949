"""The fields of a request to the engine: a fixed set, whatever else a client sends."""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.context.control_tokens import neutralised_slices
from gateway.inference import OutputOptions, PromptMessage, PromptToolCall, Sampling
from gateway.pauses import Pacer
from gateway.protocol.tools import AllowedTools, FunctionChoice, FunctionTool, JsonObject, JsonSchema

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


async def request_fields(prompt: Sequence[PromptMessage], sampling: Sampling, options: OutputOptions) -> dict[str, Any]:
    """All fields except the model and those of streaming."""
    return {"messages": await message_fields(prompt), **sampling_fields(sampling), **await output_fields(options)}


async def message_fields(prompt: Sequence[PromptMessage]) -> list[dict[str, Any]]:
    pacer = Pacer()
    return [await _message(message, pacer) for message in prompt]


def sampling_fields(sampling: Sampling) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "repetition_penalty": sampling.repetition_penalty,
    }
    if sampling.presence_penalty:
        fields["presence_penalty"] = sampling.presence_penalty
    if sampling.frequency_penalty:
        fields["frequency_penalty"] = sampling.frequency_penalty
    if sampling.max_output_tokens is not None:
        fields["max_tokens"] = sampling.max_output_tokens
    return fields


async def output_fields(options: OutputOptions) -> dict[str, Any]:
    """Empty for plain text: each of these fields costs the engine time, or is refused when it is empty."""
    fields: dict[str, Any] = {}
    if tools := await tool_fields(options):
        fields["tools"] = tools
        fields["tool_choice"] = _tool_choice(options)
        fields["parallel_tool_calls"] = options.parallel_tool_calls
    match options.format:
        case JsonSchema() as schema:
            json_schema = {"name": schema.name, "schema": schema.schema}
            fields["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        case JsonObject():
            fields["response_format"] = {"type": "json_object"}
    if options.reasoning_effort is not None:
        fields["reasoning_effort"] = options.reasoning_effort
    return fields


async def tool_fields(options: OutputOptions) -> list[dict[str, Any]]:
    """Only the tools that may be called: the engine would add the others to the prompt as well."""
    choice = options.tool_choice
    if choice == "none" or (isinstance(choice, AllowedTools) and choice.mode == "none"):
        return []
    allowed = {tool.name for tool in choice.tools} if isinstance(choice, AllowedTools) else None
    pacer = Pacer()
    return [await _tool(tool, pacer) for tool in options.tools if allowed is None or tool.name in allowed]


async def _message(message: PromptMessage, pacer: Pacer) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": await _neutralised(message.text, pacer)}
    if message.call_id is not None:
        fields["tool_call_id"] = await _neutralised(message.call_id, pacer)
    if message.calls:
        fields["content"] = fields["content"] or None
        fields["tool_calls"] = [await _tool_call(call, pacer) for call in message.calls]
    return fields


async def _tool_call(call: PromptToolCall, pacer: Pacer) -> dict[str, Any]:
    function = {"name": await _neutralised(call.name, pacer), "arguments": await _neutralised(call.arguments, pacer)}
    return {"id": await _neutralised(call.call_id, pacer), "type": "function", "function": function}


async def _tool(tool: FunctionTool, pacer: Pacer) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = await _neutralised(tool.description, pacer)
    if tool.parameters is not None:
        # As one JSON text: a chat template prints names as well as values, at any depth.
        function["parameters"] = _decode(await _neutralised(_encode(tool.parameters).decode(), pacer))
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(options: OutputOptions) -> Any:
    match options.tool_choice:
        case FunctionChoice(name):
            return {"type": "function", "function": {"name": name}}
        case AllowedTools() as allowed:
            return allowed.mode
        case mode:
            return mode


async def _neutralised(text: str, pacer: Pacer) -> str:
    slices: list[str] = []
    for one in neutralised_slices(text):
        slices.append(one)
        await pacer.pause_if_due()
    return "".join(slices)
