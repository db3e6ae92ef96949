"""The body of `POST /v1/chat/completions`."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.errors import InvalidRequest, UnsupportedParameter
from gateway.protocol.chat_messages import ChatMessage, reject_unsupported_content
from gateway.protocol.json_objects import convert, drop_neutral, parse_json_object
from gateway.protocol.limits import (
    Metadata,
    ModelName,
    Opaque,
    OutputTokens,
    Penalty,
    RepetitionPenalty,
    Temperature,
    TopP,
)
from gateway.protocol.tools import (
    AllowedTools,
    Effort,
    FunctionChoice,
    FunctionName,
    FunctionTool,
    JsonObject,
    JsonSchema,
    PlainText,
    TextFormat,
    ToolChoice,
    check_tool_choice,
    reject_hosted_tools,
)

# Fields of OpenAI's request that Parley does not support. SDKs send their neutral values, so those are accepted.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "audio": (None,),
    "function_call": (None,),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "modalities": (None, ["text"]),
    "moderation": (None,),
    "n": (None, 1),
    "prediction": (None,),
    "prompt_cache_options": (None,),
    "prompt_cache_retention": (None, "in_memory"),
    "service_tier": (None, "auto", "default"),
    "store": (None, False),
    "top_logprobs": (None, 0),
    "verbosity": (None, "medium"),
    "web_search_options": (None,),
}

Stop = Annotated[str, Meta(min_length=1, max_length=200)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class ChatTool(msgspec.Struct, frozen=True, tag_field="type", tag="function", forbid_unknown_fields=True):
    function: FunctionTool


class NamedFunction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: FunctionName


class NamedTool(msgspec.Struct, frozen=True, tag_field="type", tag="function", forbid_unknown_fields=True):
    function: NamedFunction


class Allowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tools: tuple[NamedTool, ...]
    mode: Literal["auto", "required"]


class AllowedChoice(msgspec.Struct, frozen=True, tag_field="type", tag="allowed_tools", forbid_unknown_fields=True):
    allowed_tools: Allowed


class NamedSchema(msgspec.Struct, frozen=True, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    json_schema: JsonSchema


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatCompletion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """OpenAI's fields that Parley supports; `repetition_penalty` is an addition. The last four have no effect."""

    messages: Annotated[tuple[ChatMessage, ...], Meta(min_length=1)]
    model: ModelName | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: RepetitionPenalty | None = None
    max_tokens: OutputTokens | None = None
    max_completion_tokens: OutputTokens | None = None
    stop: Stop | Annotated[tuple[Stop, ...], Meta(max_length=4)] | None = None
    seed: Seed | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[tuple[ChatTool, ...], Meta(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | AllowedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: PlainText | JsonObject | NamedSchema | None = None
    reasoning_effort: Effort | None = None
    metadata: Metadata | None = None
    prompt_cache_key: Opaque | None = None
    safety_identifier: Opaque | None = None
    user: Opaque | None = None

    @property
    def max_output_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage is True

    @property
    def functions(self) -> tuple[FunctionTool, ...]:
        return tuple(tool.function for tool in self.tools or ())

    @property
    def choice(self) -> ToolChoice | None:
        match self.tool_choice:
            case NamedTool(NamedFunction(name)):
                return FunctionChoice(name)
            case AllowedChoice(Allowed(tools, allowed_mode)):
                return AllowedTools(tuple(FunctionChoice(tool.function.name) for tool in tools), allowed_mode)
            case mode:
                return mode

    @property
    def format(self) -> TextFormat:
        given = self.response_format
        return given.json_schema if isinstance(given, NamedSchema) else given or PlainText()


def decode_chat_completion(body: bytes) -> ChatCompletion:
    """Raises InvalidRequest with the field at fault in `param`."""
    fields = drop_neutral(parse_json_object(body), NEUTRAL)
    if isinstance(fields.get("messages"), list):
        reject_unsupported_content(fields["messages"])
    if isinstance(fields.get("tools"), list):
        reject_hosted_tools(fields["tools"])
    completion = convert(fields, ChatCompletion)
    check_tool_choice(completion.functions, completion.choice)
    if completion.stream_options is not None:
        _check_stream_options(completion, completion.stream_options)
    if completion.max_tokens is not None and completion.max_completion_tokens not in (None, completion.max_tokens):
        raise InvalidRequest(
            "`max_tokens` is the deprecated name of `max_completion_tokens`; send one", param="max_tokens"
        )
    return completion


def _check_stream_options(completion: ChatCompletion, options: StreamOptions) -> None:
    if not completion.stream:
        raise InvalidRequest("`stream_options` requires `stream: true`", param="stream_options")
    if options.include_obfuscation:
        raise UnsupportedParameter("stream_options.include_obfuscation")
