"""One turn as a pure state machine: what the engine produced goes in, numbered events of the wire come out."""

from dataclasses import dataclass, field
from typing import Literal

from gateway.errors import ParleyError
from gateway.generation import Sampling
from gateway.protocol import events as e
from gateway.protocol.resources import (
    ConversationReference,
    ErrorDetails,
    IncompleteDetails,
    Message,
    MessageStatus,
    OutputText,
    Response,
    ResponseStatus,
    Truncation,
    Usage,
)


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """Everything a turn needs to know of itself before it starts. Times are Unix seconds."""

    response_id: str
    message_id: str
    user_id: str
    model: str
    sampling: Sampling
    created_at: int
    conversation_id: str | None = None
    instructions: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    max_output_tokens: int | None = None
    truncation: Truncation = "disabled"


@dataclass(frozen=True, slots=True)
class Completed:
    usage: Usage | None
    at: int


@dataclass(frozen=True, slots=True)
class CutShort:
    """Out of tokens, or stopped by the user: the partial text is kept."""

    reason: Literal["max_output_tokens", "cancelled"]
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    error: ParleyError


Ending = Completed | CutShort | Failed


class Turn:
    """Produces each event exactly once and in order; nothing follows the one terminal event."""

    def __init__(self, request: TurnRequest) -> None:
        self.request = request
        self._parts: list[str] = []
        self._shown = False
        self._ended = False
        self._next_number = 0

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def start(self) -> list[e.Event]:
        return [
            e.ResponseCreated(self._number(), self._response("in_progress")),
            e.ResponseInProgress(self._number(), self._response("in_progress")),
        ]

    def delta(self, text: str) -> list[e.Event]:
        """An empty delta (a character whose bytes are not complete yet) shows nothing."""
        if not text:
            return []
        events = [] if self._shown else self._open_message()
        self._parts.append(text)
        events.append(e.OutputTextDelta(self._number(), self.request.message_id, 0, 0, text))
        return events

    def end(self, ending: Ending) -> list[e.Event]:
        events = self._close_message(ending)
        match ending:
            case Completed(usage, at):
                response = self._response("completed", usage=usage, completed_at=at)
                terminal: e.Terminal = e.ResponseCompleted(self._number(), response)
            case CutShort(reason, usage):
                details = IncompleteDetails(reason)
                response = self._response("incomplete", usage=usage, incomplete_details=details)
                terminal = e.ResponseIncomplete(self._number(), response)
            case Failed(error):
                events.append(e.TurnError(self._number(), error.status, e.error_body(error)))
                response = self._response("failed", error=ErrorDetails(error.code, error.message))
                terminal = e.ResponseFailed(self._number(), response)
        self._ended = True
        return [*events, terminal]

    def message(self, status: MessageStatus) -> Message:
        return Message(self.request.message_id, "assistant", status, (OutputText(self.text),))

    def _open_message(self) -> list[e.Event]:
        self._shown = True
        empty = Message(self.request.message_id, "assistant", "in_progress", ())
        return [
            e.OutputItemAdded(self._number(), 0, empty),
            e.ContentPartAdded(self._number(), self.request.message_id, 0, 0, OutputText("")),
        ]

    def _close_message(self, ending: Ending) -> list[e.Event]:
        """An answer that failed before its first word has no message."""
        if not self._shown and isinstance(ending, Failed):
            return []
        events = [] if self._shown else self._open_message()
        item = self.request.message_id
        return [
            *events,
            e.OutputTextDone(self._number(), item, 0, 0, self.text),
            e.ContentPartDone(self._number(), item, 0, 0, OutputText(self.text)),
            e.OutputItemDone(self._number(), 0, self.message(status_of(ending))),
        ]

    def _number(self) -> int:
        if self._ended:
            raise RuntimeError("a turn has one ending")
        number = self._next_number
        self._next_number += 1
        return number

    def _response(
        self,
        status: ResponseStatus,
        *,
        usage: Usage | None = None,
        completed_at: int | None = None,
        incomplete_details: IncompleteDetails | None = None,
        error: ErrorDetails | None = None,
    ) -> Response:
        request = self.request
        message_status: MessageStatus = "completed" if status == "completed" else "incomplete"
        return Response(
            id=request.response_id,
            created_at=request.created_at,
            completed_at=completed_at,
            status=status,
            incomplete_details=incomplete_details,
            model=request.model,
            instructions=request.instructions,
            output=(self.message(message_status),) if status != "in_progress" and self._shown else (),
            error=error,
            truncation=request.truncation,
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            usage=usage,
            max_output_tokens=request.max_output_tokens,
            store=request.conversation_id is not None,
            metadata=request.metadata,
            conversation=ConversationReference(request.conversation_id) if request.conversation_id else None,
        )


def status_of(ending: Ending) -> MessageStatus:
    return "completed" if isinstance(ending, Completed) else "incomplete"
