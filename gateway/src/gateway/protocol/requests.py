"""Client events and request bodies other than a create."""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.errors import InvalidRequest
from gateway.protocol.create import ResponseCreate, decode_create
from gateway.protocol.input_items import InputItem, normalize_input_items
from gateway.protocol.json_objects import convert, drop_neutral, parse_json_object
from gateway.protocol.limits import MAX_ID_LENGTH, MAX_OPAQUE_LENGTH, Id, Metadata, ModelName, Opaque
from gateway.protocol.resources import ConversationReference, Generation, Truncation
from gateway.protocol.tools import ReasoningConfig, TextConfig, ToolChoice, Tools

# OpenAI's own limit.
MAX_ITEMS_PER_REQUEST = 20

Items = Annotated[tuple[InputItem, ...], Meta(max_length=MAX_ITEMS_PER_REQUEST)]


class ResponseCancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    response_id: Id


class ConversationCreate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    metadata: Metadata | None = None
    items: Items | None = None
    generation: Generation | None = None


class ConversationUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field that is absent or null does not change."""

    metadata: Metadata | None = None
    generation: Generation | None = None


class ItemsCreate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: Annotated[tuple[InputItem, ...], Meta(min_length=1, max_length=MAX_ITEMS_PER_REQUEST)]


class CompactRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: ModelName
    input: str | tuple[InputItem, ...] | None = None
    previous_response_id: Id | None = None
    instructions: str | None = None
    prompt_cache_key: Opaque | None = None


class CountRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of a `response.create` that are part of its prompt."""

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


# OpenAI's own, in addition to those.
COUNT_NEUTRAL: dict[str, tuple[Any, ...]] = {"personality": (None,)}

ClientEvent = ResponseCreate | ResponseCancel


@dataclass(frozen=True, slots=True)
class ClientFrame:
    """One text frame of a client. `stream_id` and `previous_response_id` are available even if the event is invalid."""

    fields: dict[str, Any]

    @classmethod
    def read(cls, text: str) -> "ClientFrame":
        """Raises InvalidJson."""
        return cls(parse_json_object(text.encode("utf-8", "surrogatepass")))

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
            return convert(fields, ResponseCancel)
        if not isinstance(kind, str):
            raise InvalidRequest("expected a `type`, the name of the event", param="type")
        raise InvalidRequest(
            f"unknown event {kind[:100]!r}; expected `response.create` or `response.cancel`",
            param="type",
            code="unsupported" if kind == "response.steer" else "unknown_event",
        )

    def _text(self, name: str, max_length: int) -> str | None:
        text = self.fields.get(name)
        return text if isinstance(text, str) and len(text) <= max_length else None


def decode_create_body(body: bytes) -> ResponseCreate:
    return decode_create(parse_json_object(body), transport="http")


def decode_conversation_create(body: bytes) -> ConversationCreate:
    fields = parse_json_object(body or b"{}")
    if isinstance(fields.get("items"), list):
        fields["items"] = normalize_input_items(fields["items"], "items")
    return convert(fields, ConversationCreate)


def decode_conversation_update(body: bytes) -> ConversationUpdate:
    return convert(parse_json_object(body), ConversationUpdate)


def decode_items_create(body: bytes) -> ItemsCreate:
    fields = parse_json_object(body)
    if isinstance(fields.get("items"), list):
        fields["items"] = normalize_input_items(fields["items"], "items")
    return convert(fields, ItemsCreate)


def decode_count(body: bytes) -> ResponseCreate:
    """Returns a create of which only the prompt is used."""
    fields = drop_neutral(parse_json_object(body or b"{}"), COUNT_NEUTRAL)
    unknown = fields.keys() - set(CountRequest.__struct_fields__)
    if unknown:
        convert({name: fields[name] for name in unknown}, CountRequest)
    return decode_create(fields | {"generate": False}, transport="websocket")


def decode_compact(body: bytes) -> CompactRequest:
    fields = parse_json_object(body)
    if isinstance(fields.get("input"), list):
        fields["input"] = normalize_input_items(fields["input"], "input")
    return convert(fields, CompactRequest)


def idempotency_key_of(create: ResponseCreate, idempotency_key: str | None = None) -> str | None:
    """The client's own id of the request: a repeated request has the same one. Unstored responses have none: they
    cannot be found again."""
    client_id = (create.metadata or {}).get("client_message_id") or idempotency_key
    return client_id if create.stored else None
