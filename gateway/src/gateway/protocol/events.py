"""Server events, one frozen type each; `sequence_number` numbers a response's events from 0 without gaps."""

import msgspec

from gateway.errors import ParleyError
from gateway.protocol.items import OutputItem, OutputText, ReasoningText
from gateway.protocol.resources import Response


class Event(msgspec.Struct, frozen=True, tag_field="type"):
    sequence_number: int


class ResponseCreated(Event, frozen=True, tag="response.created"):
    response: Response


class ResponseInProgress(Event, frozen=True, tag="response.in_progress"):
    response: Response


class OutputItemAdded(Event, frozen=True, tag="response.output_item.added"):
    output_index: int
    item: OutputItem


class ContentPartAdded(Event, frozen=True, tag="response.content_part.added"):
    item_id: str
    output_index: int
    content_index: int
    part: OutputText | ReasoningText


class OutputTextDelta(Event, frozen=True, tag="response.output_text.delta"):
    item_id: str
    output_index: int
    content_index: int
    delta: str
    logprobs: tuple[()] = ()


class OutputTextDone(Event, frozen=True, tag="response.output_text.done"):
    item_id: str
    output_index: int
    content_index: int
    text: str
    logprobs: tuple[()] = ()


class ReasoningDelta(Event, frozen=True, tag="response.reasoning_text.delta"):
    item_id: str
    output_index: int
    content_index: int
    delta: str


class ReasoningDone(Event, frozen=True, tag="response.reasoning_text.done"):
    item_id: str
    output_index: int
    content_index: int
    text: str


class ArgumentsDelta(Event, frozen=True, tag="response.function_call_arguments.delta"):
    item_id: str
    output_index: int
    delta: str


class ArgumentsDone(Event, frozen=True, tag="response.function_call_arguments.done"):
    item_id: str
    output_index: int
    name: str
    arguments: str


class ContentPartDone(Event, frozen=True, tag="response.content_part.done"):
    item_id: str
    output_index: int
    content_index: int
    part: OutputText | ReasoningText


class OutputItemDone(Event, frozen=True, tag="response.output_item.done"):
    output_index: int
    item: OutputItem


class ResponseCompleted(Event, frozen=True, tag="response.completed"):
    response: Response


class ResponseIncomplete(Event, frozen=True, tag="response.incomplete"):
    response: Response


class ResponseFailed(Event, frozen=True, tag="response.failed"):
    response: Response


class ErrorBody(msgspec.Struct, frozen=True):
    type: str
    code: str
    message: str
    param: str | None = None


class ErrorResponse(msgspec.Struct, frozen=True):
    """The body of an error over HTTP."""

    error: ErrorBody


class TurnError(Event, frozen=True, tag="error"):
    """Precedes `response.failed`, so it has a sequence number. OpenAI's SDKs read the flat fields, the specification
    has them in `error`."""

    status: int
    code: str
    message: str
    param: str | None
    error: ErrorBody


class SocketError(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """The reply to an invalid client event; it belongs to no response."""

    status: int
    error: ErrorBody


Terminal = ResponseCompleted | ResponseIncomplete | ResponseFailed
Delta = OutputTextDelta | ReasoningDelta | ArgumentsDelta

AnyEvent = (
    ResponseCreated
    | ResponseInProgress
    | OutputItemAdded
    | ContentPartAdded
    | OutputTextDelta
    | OutputTextDone
    | ReasoningDelta
    | ReasoningDone
    | ArgumentsDelta
    | ArgumentsDone
    | ContentPartDone
    | OutputItemDone
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | TurnError
)

_encode = msgspec.json.Encoder().encode

decode_event = msgspec.json.Decoder(AnyEvent).decode
"""Decodes a frame that another gateway encoded, to take over its turn."""


def frame(event: Event | SocketError) -> str:
    """The text frame of one event."""
    return _encode(event).decode()


def with_stream_id(text: str, stream_id: str | None) -> str:
    """Adds the client's `stream_id` to an encoded frame: the event itself is encoded once for all followers."""
    if stream_id is None:
        return text
    return f'{text[:-1]},"stream_id":{_encode(stream_id).decode()}}}'


def error_body(error: ParleyError) -> ErrorBody:
    return msgspec.convert(error.body(), ErrorBody)


def socket_error(error: ParleyError) -> SocketError:
    return SocketError(status=error.status, error=error_body(error))
