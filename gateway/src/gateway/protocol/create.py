"""`response.create` and the body of `POST /v1/responses`: what a client asks for."""

from typing import Any, Literal

import msgspec

from gateway.errors import InvalidRequest, NotFound, PreviousResponseNotFound, UnsupportedParameter
from gateway.protocol.ids import is_conversation_id, is_response_id
from gateway.protocol.input_items import InputItem, InputMessage, InputReasoning, input_items
from gateway.protocol.json_objects import converted, without_neutral
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
    only_functions,
    refuse_what_is_not_offered,
)

# Fields of OpenAI's request that mean something we do not do. SDKs send their neutral values, so those are accepted.
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
# Of those below, the ones that mean something on a WebSocket only.
NEUTRAL_OVER_HTTP: dict[str, tuple[Any, ...]] = {"generate": (None, True), "stream_id": (None,)}


class ResponseCreate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """OpenAI's fields that Parley honours; `repetition_penalty` is an addition.

    `stream` and `background` belong to HTTP, `generate` and `stream_id` to WebSocket. `user` changes nothing here.
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
    fields = without_neutral(fields, NEUTRAL)
    if isinstance(fields.get("tools"), list):
        only_functions(fields["tools"])
    if isinstance(fields.get("input"), list):
        fields["input"] = input_items(fields["input"], "input")
    create = converted(fields, ResponseCreate)
    _refuse_the_other_transport(create, transport)
    _refuse_contradictions(create)
    return create


def _refuse_the_other_transport(create: ResponseCreate, transport: str) -> None:
    if transport == "websocket":
        if create.background:
            raise UnsupportedParameter("background")
        if create.stream is False:
            raise UnsupportedParameter("stream")
    elif create.stream_id is not None:
        raise UnsupportedParameter("stream_id")
    elif create.generate is False:
        raise UnsupportedParameter("generate")


def _refuse_contradictions(create: ResponseCreate) -> None:
    if create.conversation is not None and create.previous_response_id is not None:
        raise InvalidRequest(
            "`conversation` and `previous_response_id` exclude each other", param="previous_response_id"
        )
    if create.conversation_id is not None and not is_conversation_id(create.conversation_id):
        raise NotFound("conversation", param="conversation")
    if create.previous_response_id is not None and not is_response_id(create.previous_response_id):
        raise PreviousResponseNotFound
    if not create.stored and create.conversation is not None:
        raise InvalidRequest("an answer in a `conversation` is stored; leave `store` out", param="store")
    if not create.stored and create.background:
        raise InvalidRequest("a `background` answer must be stored to be fetched; leave `store` out", param="store")
    refuse_what_is_not_offered(create.tools or (), create.tool_choice)
    if create.generate is not False and not any(_says_something(item) for item in create.items):
        raise InvalidRequest("`input` is empty; expected some text", param="input")


def _says_something(item: InputItem) -> bool:
    return bool(item.text.strip()) if isinstance(item, InputMessage) else not isinstance(item, InputReasoning)
