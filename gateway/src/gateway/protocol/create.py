"""`response.create` and the body of `POST /v1/responses`."""

from typing import Any, Literal

import msgspec

from gateway.errors import InvalidRequest, NotFound, PreviousResponseNotFound, UnsupportedParameter
from gateway.protocol.ids import is_conversation_id, is_response_id
from gateway.protocol.input_items import InputItem, InputMessage, InputReasoning, normalize_input_items
from gateway.protocol.json_objects import convert, drop_neutral
from gateway.protocol.limits import (
    Id,
    Metadata,
    ModelName,
    Opaque,
    OutputTokens,
    Penalty,
    RepetitionPenalty,
    Temperature,
    TopP,
)
from gateway.protocol.resources import ConversationReference, Truncation
from gateway.protocol.tools import (
    ReasoningConfig,
    TextConfig,
    ToolChoice,
    Tools,
    check_tool_choice,
    reject_hosted_tools,
)

# Fields of OpenAI's request that Parley does not support. SDKs send their neutral values, so those are accepted.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "context_management": (None, []),
    "include": (None, []),
    "max_tool_calls": (None,),
    "moderation": (None,),
    "prompt": (None,),
    "prompt_cache_options": (None,),
    "prompt_cache_retention": (None, "in_memory"),
    "service_tier": (None, "auto", "default"),
    "stream_options": (None, {}, {"include_obfuscation": False}),
    "top_logprobs": (None, 0),
}
# Fields of `ResponseCreate` that have a meaning on a WebSocket only.
NEUTRAL_OVER_HTTP: dict[str, tuple[Any, ...]] = {"generate": (None, True), "stream_id": (None,)}


class ResponseCreate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """OpenAI's fields that Parley supports; `repetition_penalty` is an addition.

    `stream` and `background` are for HTTP, `generate` and `stream_id` for WebSocket. `user` has no effect.
    """

    input: str | tuple[InputItem, ...] | None = None
    model: ModelName | None = None
    conversation: Id | ConversationReference | None = None
    previous_response_id: Id | None = None
    instructions: str | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: RepetitionPenalty | None = None
    max_output_tokens: OutputTokens | None = None
    truncation: Truncation | None = None
    text: TextConfig | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningConfig | None = None
    store: bool | None = None
    stream: bool | None = None
    background: bool | None = None
    generate: bool | None = None
    metadata: Metadata | None = None
    safety_identifier: Opaque | None = None
    prompt_cache_key: Opaque | None = None
    user: Opaque | None = None
    stream_id: Opaque | None = None

    @property
    def conversation_id(self) -> str | None:
        reference = self.conversation
        return reference.id if isinstance(reference, ConversationReference) else reference

    @property
    def items(self) -> tuple[InputItem, ...]:
        if isinstance(self.input, str):
            return (InputMessage(role="user", content=self.input),)
        return self.input or ()

    @property
    def stored(self) -> bool:
        return self.store is not False


def decode_create(fields: dict[str, Any], *, transport: Literal["http", "websocket"]) -> ResponseCreate:
    """Raises InvalidRequest or NotFound with the field at fault in `param`."""
    fields = drop_neutral(fields, NEUTRAL)
    if isinstance(fields.get("tools"), list):
        reject_hosted_tools(fields["tools"])
    if isinstance(fields.get("input"), list):
        fields["input"] = normalize_input_items(fields["input"], "input")
    create = convert(fields, ResponseCreate)
    _check_transport(create, transport)
    _check_consistency(create)
    return create


def _check_transport(create: ResponseCreate, transport: str) -> None:
    if transport == "websocket":
        if create.background:
            raise UnsupportedParameter("background")
        if create.stream is False:
            raise UnsupportedParameter("stream")
    elif create.stream_id is not None:
        raise UnsupportedParameter("stream_id")
    elif create.generate is False:
        raise UnsupportedParameter("generate")


def _check_consistency(create: ResponseCreate) -> None:
    if create.conversation is not None and create.previous_response_id is not None:
        raise InvalidRequest(
            "`conversation` and `previous_response_id` are mutually exclusive; send one", param="previous_response_id"
        )
    if create.conversation_id is not None and not is_conversation_id(create.conversation_id):
        raise NotFound("conversation", param="conversation")
    if create.previous_response_id is not None and not is_response_id(create.previous_response_id):
        raise PreviousResponseNotFound
    if not create.stored and create.conversation is not None:
        raise InvalidRequest("a response in a `conversation` is always stored; omit `store`", param="store")
    if not create.stored and create.background:
        raise InvalidRequest("a `background` response must be stored to be retrieved; omit `store`", param="store")
    check_tool_choice(create.tools or (), create.tool_choice)
    if create.generate is not False and not any(_has_content(item) for item in create.items):
        raise InvalidRequest("`input` is empty; expected some text", param="input")


def _has_content(item: InputItem) -> bool:
    return bool(item.text.strip()) if isinstance(item, InputMessage) else not isinstance(item, InputReasoning)
