"""Client events and request bodies, decoded strictly: a field we do not know is refused by name."""

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from gateway.errors import InvalidRequest, NotFound, NotJson, UnsupportedParameter
from gateway.protocol.ids import is_conversation_id, new_message_id
from gateway.protocol.resources import ConversationReference, InputText, Message, MessageRole, OutputText, Truncation

T = TypeVar("T")

Id = Annotated[str, Meta(max_length=80)]
MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)]

# Fields of OpenAI's request that mean something we do not do. SDKs send their neutral values, so those are accepted.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "background": (None, False),
    "context_management": (None,),
    "frequency_penalty": (None, 0),
    "generate": (None, True),
    "include": (None, []),
    "max_tool_calls": (None,),
    "parallel_tool_calls": (None, True, False),
    "presence_penalty": (None, 0),
    "previous_response_id": (None,),
    "prompt": (None,),
    "prompt_cache_key": (None,),
    "reasoning": (None,),
    "safety_identifier": (None,),
    "service_tier": (None, "auto", "default"),
    "stream": (None, True),
    "stream_options": (None,),
    "text": (None, {"format": {"type": "text"}}),
    "tool_choice": (None, "auto", "none"),
    "tools": (None, []),
    "top_logprobs": (None, 0),
    "user": (None,),
}


class InputMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: MessageRole
    content: str | list[InputText | OutputText]
    type: Annotated[str, Meta(pattern="^message$")] = "message"
    id: Id | None = None
    status: str | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)

    def at(self, position: int) -> Message:
        """As an item of a conversation, under an id of ours."""
        kind = OutputText if self.role == "assistant" else InputText
        return Message(new_message_id(position), self.role, "completed", (kind(self.text),))


class ResponseCreate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of a create: OpenAI's fields that Parley honours. `conversation` and `input` as on their wire."""

    input: str | list[InputMessage]
    model: Annotated[str, Meta(max_length=200)] | None = None
    conversation: Id | ConversationReference | None = None
    instructions: str | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    stream_id: Annotated[str, Meta(max_length=200)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    truncation: Truncation | None = None

    @property
    def conversation_id(self) -> str | None:
        reference = self.conversation
        return reference.id if isinstance(reference, ConversationReference) else reference

    @property
    def messages(self) -> tuple[InputMessage, ...]:
        if isinstance(self.input, str):
            return (InputMessage(role="user", content=self.input),)
        return tuple(self.input)


class ResponseCancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    response_id: Id


class ConversationCreate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    metadata: Metadata | None = None
    items: list[InputMessage] | None = None


ClientEvent = ResponseCreate | ResponseCancel


def decode_client_event(text: str) -> ClientEvent:
    """One text frame of a client. Raises InvalidRequest with the field at fault in `param`."""
    fields = _object(text.encode("utf-8", "surrogatepass"))
    kind = fields.pop("type", None)
    if kind == "response.create":
        return decode_create(fields)
    if kind == "response.cancel":
        return _convert(fields, ResponseCancel)
    if not isinstance(kind, str):
        raise InvalidRequest("`type` must be a string that names the event", param="type")
    raise InvalidRequest(
        f"unknown event {kind[:100]!r}; expected `response.create` or `response.cancel`",
        param="type",
        code="unsupported" if kind == "response.steer" else "unknown_event",
    )


def decode_create(fields: dict[str, Any]) -> ResponseCreate:
    for name, neutral in _NEUTRAL.items():
        # `True == 1`: compare types too, so that `stream: 1` is not taken for a boolean
        value = fields.pop(name, None)
        if not any(value == one and type(value) is type(one) for one in neutral):
            raise UnsupportedParameter(name)
    create = _convert(fields, ResponseCreate)
    if create.conversation_id is not None and not is_conversation_id(create.conversation_id):
        raise NotFound("conversation", param="conversation")
    if create.store is not None and create.store != (create.conversation_id is not None):
        raise InvalidRequest("an answer is stored in its `conversation`, and only there", param="store")
    if not any(message.text.strip() for message in create.messages):
        raise InvalidRequest("`input` is empty; expected some text", param="input")
    return create


def decode_conversation_create(body: bytes) -> ConversationCreate:
    return _convert(_object(body or b"{}"), ConversationCreate)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise NotJson(f"something else: {exc}") from exc
    if not isinstance(value, dict):
        raise NotJson(type(value).__name__)
    return value


def _convert(fields: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as exc:
        message = str(exc)
        param = _param(message)
        code = "unknown_parameter" if "unknown field" in message else "invalid_value"
        raise InvalidRequest(message, param=param, code=code) from exc


def _param(message: str) -> str | None:
    """msgspec ends its messages in "- at `$.input[0].role`", or quotes the unknown field."""
    path = message.rpartition("`$.")[2].removesuffix("`") if "`$." in message else None
    if "unknown field" in message:
        field = message.split("`")[1]
        return f"{path}.{field}" if path else field
    return path
