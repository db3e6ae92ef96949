"""One turn as a pure state machine: steps go in, numbered events of the wire come out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from gateway.errors import ParleyError
from gateway.inference import OutputDelta, OutputOptions, ReasoningTextDelta, Sampling, TextDelta, ToolCallDelta
from gateway.protocol import events as e
from gateway.protocol.items import ItemStatus
from gateway.protocol.resources import (
    ConversationReference,
    ErrorDetails,
    IncompleteDetails,
    Response,
    ResponseStatus,
    Truncation,
    Usage,
    WindowUse,
)
from gateway.protocol.tools import JsonSchema, ReasoningConfig, TextConfig, TextFormat
from gateway.turn.output import Output


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """Everything a turn needs to know of itself before it starts. Times are Unix seconds.

    `thread` names where its items are kept, None when nowhere; they take the positions from `position` on. `system` is
    the system prompt, `shape` tells prompts apart that differ in more than their items. `before` are the positions of
    the items it goes on from, None where an earlier version kept it; `older` items there were beside these.
    """

    response_id: str
    user_id: str
    model: str
    sampling: Sampling
    form: OutputOptions
    created_at: int
    position: int = 0
    thread: str | None = None
    conversation_id: str | None = None
    previous_response_id: str | None = None
    instructions: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    max_output_tokens: int | None = None
    truncation: Truncation = "disabled"
    background: bool = False
    generate: bool = True
    reasoning: ReasoningConfig | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    system: str | None = None
    shape: str = ""
    before: tuple[int, ...] | None = None
    older: int = 0

    @property
    def stored(self) -> bool:
        return self.thread is not None


@dataclass(frozen=True, slots=True)
class Created:
    """What was asked is kept."""


@dataclass(frozen=True, slots=True)
class Completed:
    usage: Usage | None
    at: int


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Out of tokens, or stopped by the user, in so many milliseconds: the partial text is kept."""

    reason: Literal["max_output_tokens", "cancelled"]
    usage: Usage | None = None
    stopped_in_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    error: ParleyError


Ending = Completed | Incomplete | Failed
Step = Created | WindowUse | OutputDelta | Ending


class Turn:
    """Produces each event exactly once and in order; nothing follows the one terminal event, whose resource is the
    `outcome`."""

    def __init__(self, request: TurnRequest) -> None:
        self.request = request
        self._window: WindowUse | None = None
        self.outcome: Response | None = None
        self._next_number = 0
        self._output = Output(self._number, request.response_id, request.position)

    def step(self, step: Step) -> Sequence[e.Event]:
        match step:
            case TextDelta() | ReasoningTextDelta() | ToolCallDelta():
                return self._output.add(step)
            case Created():
                return [e.ResponseCreated(self._number(), self.response("in_progress"))]
            case WindowUse():
                announced, self._window = self._window is not None, step
                return [] if announced else [e.ResponseInProgress(self._number(), self.response("in_progress"))]
            case _:
                return self._end(step)

    def replay(self, event: e.Event) -> None:
        """Takes up an event that another owner of the turn has told; they come in order, from the first."""
        self._next_number = event.sequence_number + 1
        self._output.replay(event)
        match event:
            case e.ResponseInProgress(response=response):
                self._window = response.window or WindowUse(0, None, None)
            case e.ResponseCompleted() | e.ResponseIncomplete() | e.ResponseFailed():
                self.outcome = event.response

    def begin_again(self) -> None:
        """The engine says everything anew, of which nothing was shown."""
        self._output.begin_again()

    @property
    def nothing_shown(self) -> bool:
        return not self._output.items("completed")

    @property
    def text_is_open(self) -> bool:
        """The last that was shown is text, so plain tokens can go on from here."""
        return self._output.open_kind is TextDelta

    def _end(self, ending: Ending) -> list[e.Event]:
        # An answer that ends before its window was chosen was in progress too.
        begin = [] if self._window else list(self.step(WindowUse(0, None, None)))
        return [*begin, *self._last_words(ending)]

    def _last_words(self, ending: Ending) -> list[e.Event]:
        if isinstance(ending, Failed):
            error = ending.error
            events = self._output.close("incomplete")  # one that failed before its first word has no message
            flat = (error.status, error.code, error.message, error.param)
            events.append(e.TurnError(self._number(), *flat, e.error_body(error)))
        elif self.request.generate:
            events = self._output.close_with_a_message(status_of(ending))
        else:
            events = []
        terminal = self._terminal(ending)
        self.outcome = terminal.response
        return [*events, terminal]

    def _terminal(self, ending: Ending) -> e.Terminal:
        match ending:
            case Completed(usage, at):
                return e.ResponseCompleted(self._number(), self.response("completed", usage=usage, completed_at=at))
            case Incomplete(reason, usage, stopped_in_ms):
                details = IncompleteDetails(reason, msgspec.UNSET if stopped_in_ms is None else stopped_in_ms)
                response = self.response("incomplete", usage=usage, incomplete_details=details)
                return e.ResponseIncomplete(self._number(), response)
            case Failed(error):
                details_of = ErrorDetails(error.code, error.message)
                return e.ResponseFailed(self._number(), self.response("failed", error=details_of))

    def _number(self) -> int:
        if self.outcome is not None:
            raise RuntimeError("a turn has one ending")
        number = self._next_number
        self._next_number += 1
        return number

    def response(
        self,
        status: ResponseStatus,
        *,
        usage: Usage | None = None,
        completed_at: int | None = None,
        incomplete_details: IncompleteDetails | None = None,
        error: ErrorDetails | None = None,
    ) -> Response:
        request, sampling, form = self.request, self.request.sampling, self.request.form
        return Response(
            id=request.response_id,
            created_at=request.created_at,
            completed_at=completed_at,
            status=status,
            incomplete_details=incomplete_details,
            model=request.model,
            previous_response_id=request.previous_response_id,
            instructions=request.instructions,
            output=() if status == "in_progress" else self._output.items("incomplete"),
            error=error,
            tools=form.tools,
            tool_choice=form.tool_choice,
            truncation=request.truncation,
            parallel_tool_calls=form.parallel_tool_calls,
            text=TextConfig(_strict_or_not(form.format)),
            top_p=sampling.top_p,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            temperature=sampling.temperature,
            reasoning=request.reasoning,
            usage=usage,
            max_output_tokens=request.max_output_tokens,
            store=request.stored,
            background=request.background,
            metadata=request.metadata,
            safety_identifier=request.safety_identifier,
            prompt_cache_key=request.prompt_cache_key,
            conversation=ConversationReference(request.conversation_id) if request.conversation_id else None,
            repetition_penalty=sampling.repetition_penalty,
            window=self._window_used(usage),
        )

    def _window_used(self, usage: Usage | None) -> WindowUse | None:
        """The engine's own number, once it is known."""
        if self._window is None or usage is None:
            return self._window
        return WindowUse(self._window.items_left_out, usage.input_tokens, self._window.context_tokens)


def status_of(ending: Ending) -> ItemStatus:
    return "completed" if isinstance(ending, Completed) else "incomplete"


def _strict_or_not(wanted: TextFormat) -> TextFormat:
    """The specification has a boolean where a request may leave it open."""
    return msgspec.structs.replace(wanted, strict=bool(wanted.strict)) if isinstance(wanted, JsonSchema) else wanted
