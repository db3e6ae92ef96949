"""The fixed set of fields towards the engine: whatever else a client sends never gets here."""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.context.control_tokens import neutralise
from gateway.inference import OutputOptions, PromptMessage, Sampling
from gateway.protocol.tools import AllowedTools, FunctionChoice, FunctionTool, JsonObject, JsonSchema

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def messages(prompts: Sequence[PromptMessage]) -> list[dict[str, Any]]:
    return [_message(prompt) for prompt in prompts]


def request(prompts: Sequence[PromptMessage], sampling: Sampling, wanted: OutputOptions) -> dict[str, Any]:
    """What every request has but for the model."""
    return {"messages": messages(prompts), **sampled(sampling), **form(wanted)}


def sampled(sampling: Sampling) -> dict[str, Any]:
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


def form(wanted: OutputOptions) -> dict[str, Any]:
    """Empty for a plain answer: each of these fields costs the engine, or is refused when it is empty."""
    fields: dict[str, Any] = {}
    offered = tools(wanted)
    if offered:
        fields["tools"] = offered
        fields["tool_choice"] = _choice(wanted)
        fields["parallel_tool_calls"] = wanted.parallel_tool_calls
    match wanted.format:
        case JsonSchema() as schema:
            named = {"name": schema.name, "schema": schema.schema}
            fields["response_format"] = {"type": "json_schema", "json_schema": named}
        case JsonObject():
            fields["response_format"] = {"type": "json_object"}
    if wanted.reasoning_effort is not None:
        fields["reasoning_effort"] = wanted.reasoning_effort
    return fields


def tools(wanted: OutputOptions) -> list[dict[str, Any]]:
    """Those that may be called: the engine would write the others into the prompt all the same."""
    choice = wanted.tool_choice
    if choice == "none" or (isinstance(choice, AllowedTools) and choice.mode == "none"):
        return []
    allowed = {one.name for one in choice.tools} if isinstance(choice, AllowedTools) else None
    return [_tool(tool) for tool in wanted.tools if allowed is None or tool.name in allowed]


def _message(prompt: PromptMessage) -> dict[str, Any]:
    message: dict[str, Any] = {"role": prompt.role, "content": neutralise(prompt.text)}
    if prompt.call_id is not None:
        message["tool_call_id"] = neutralise(prompt.call_id)
    if prompt.calls:
        message["content"] = message["content"] or None
        message["tool_calls"] = [
            {
                "id": neutralise(call.call_id),
                "type": "function",
                "function": {"name": neutralise(call.name), "arguments": neutralise(call.arguments)},
            }
            for call in prompt.calls
        ]
    return message


def _tool(tool: FunctionTool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = neutralise(tool.description)
    if tool.parameters is not None:
        # Through its text: a template prints names and values alike, however deep.
        function["parameters"] = _decode(neutralise(_encode(tool.parameters).decode()))
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(wanted: OutputOptions) -> Any:
    match wanted.tool_choice:
        case FunctionChoice(name):
            return {"type": "function", "function": {"name": name}}
        case AllowedTools() as allowed:
            return allowed.mode
        case word:
            return word
