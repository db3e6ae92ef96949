"""Client events and request bodies but for a create."""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.errors import InvalidRequest
from gateway.protocol.create import ResponseCreate, decode_create
from gateway.protocol.input_items import InputItem, input_items
from gateway.protocol.json_objects import converted, json_object, without_neutral
from gateway.protocol.limits import MAX_ID_LENGTH, MAX_OPAQUE_LENGTH, Id, Metadata, ModelName, Opaque
from gateway.protocol.resources import ConversationReference, Generation, Truncation
from gateway.protocol.tools import ReasoningConfig, TextConfig, ToolChoice, Tools

# OpenAI's own limit.
ITEMS_AT_ONCE = 20

Items = Annotated[tuple[InputItem, ...], Meta(max_length=ITEMS_AT_ONCE)]


class ResponseCancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    response_id: Id


class ConversationCreate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    metadata: Metadata | None = None
    items: Items | None = None
    generation: Generation | None = None


class ConversationUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out, or null, stays as it is."""

    metadata: Metadata | None = None
    generation: Generation | None = None


class ItemsCreate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: Annotated[tuple[InputItem, ...], Meta(min_length=1, max_length=ITEMS_AT_ONCE)]


class CompactRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: ModelName
    input: str | tuple[InputItem, ...] | None = None
    previous_response_id: Id | None = None
    instructions: str | None = None
    prompt_cache_key: Opaque | None = None


class CountRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What of a `response.create` is part of its prompt."""

    input: str | tuple[InputItem, ...] | None = None
    model: ModelName | None = None
    conversation: Id | ConversationReference | None = None
    previous_response_id: Id | None = None
    instructions: str | None = None
    truncation: Truncation | None = None
    text: TextConfig | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningConfig | None = None


# OpenAI's own, beside those.
COUNT_NEUTRAL: dict[str, tuple[Any, ...]] = {"personality": (None,)}

ClientEvent = ResponseCreate | ResponseCancel


@dataclass(frozen=True, slots=True)
class ClientFrame:
    """One text frame of a client. Who is to hear what, also where the rest of it means nothing, is known before."""

    fields: dict[str, Any]

    @classmethod
    def read(cls, text: str) -> "ClientFrame":
        """Raises InvalidJson."""
        return cls(json_object(text.encode("utf-8", "surrogatepass")))

    @property
    def stream_id(self) -> str | None:
        return self._text("stream_id", MAX_OPAQUE_LENGTH)

    @property
    def previous_response_id(self) -> str | None:
        return self._text("previous_response_id", MAX_ID_LENGTH)

    def event(self) -> ClientEvent:
        """Raises InvalidRequest with the field at fault in `param`."""
        fields = dict(self.fields)
        kind = fields.pop("type", None)
        if kind == "response.create":
            return decode_create(fields, transport="websocket")
        if kind == "response.cancel":
            return converted(fields, ResponseCancel)
        if not isinstance(kind, str):
            raise InvalidRequest("`type` must be a string that names the event", param="type")
        raise InvalidRequest(
            f"unknown event {kind[:100]!r}; expected `response.create` or `response.cancel`",
            param="type",
            code="unsupported" if kind == "response.steer" else "unknown_event",
        )

    def _text(self, name: str, at_most: int) -> str | None:
        text = self.fields.get(name)
        return text if isinstance(text, str) and len(text) <= at_most else None


def decode_create_body(body: bytes) -> ResponseCreate:
    return decode_create(json_object(body), transport="http")


def decode_conversation_create(body: bytes) -> ConversationCreate:
    fields = json_object(body or b"{}")
    if isinstance(fields.get("items"), list):
        fields["items"] = input_items(fields["items"], "items")
    return converted(fields, ConversationCreate)


def decode_conversation_update(body: bytes) -> ConversationUpdate:
    return converted(json_object(body), ConversationUpdate)


def decode_items_create(body: bytes) -> ItemsCreate:
    fields = json_object(body)
    if isinstance(fields.get("items"), list):
        fields["items"] = input_items(fields["items"], "items")
    return converted(fields, ItemsCreate)


def decode_count(body: bytes) -> ResponseCreate:
    """A create that only the prompt is wanted of."""
    fields = without_neutral(json_object(body or b"{}"), COUNT_NEUTRAL)
    unknown = fields.keys() - set(CountRequest.__struct_fields__)
    if unknown:
        converted({name: fields[name] for name in unknown}, CountRequest)
    return decode_create(fields | {"generate": False}, transport="websocket")


def decode_compact(body: bytes) -> CompactRequest:
    fields = json_object(body)
    if isinstance(fields.get("input"), list):
        fields["input"] = input_items(fields["input"], "input")
    return converted(fields, CompactRequest)


def idempotency_key_of(create: ResponseCreate, idempotency_key: str | None = None) -> str | None:
    """The client's own id for what it asks: asked again, it is the same. Only what is stored can be found again."""
    client_id = (create.metadata or {}).get("client_message_id") or idempotency_key
    return client_id if create.stored else None
