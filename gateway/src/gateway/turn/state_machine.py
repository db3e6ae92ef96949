"""One turn as a pure state machine: steps go in, numbered events of the wire come out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from gateway.errors import ParleyError
from gateway.inference import OutputDelta, ReasoningTextDelta, TextDelta, ToolCallDelta
from gateway.protocol import events as e
from gateway.protocol.items import ItemStatus
from gateway.protocol.resources import (
    ConversationReference,
    ErrorDetails,
    IncompleteDetails,
    Response,
    ResponseStatus,
    Usage,
    WindowUse,
)
from gateway.protocol.tools import JsonSchema, TextConfig, TextFormat
from gateway.turn.output import Output
from gateway.turn.turn_request import TurnRequest


@dataclass(frozen=True, slots=True)
class Created:
    """The turn was accepted: its input is stored."""


@dataclass(frozen=True, slots=True)
class Completed:
    usage: Usage | None
    at: int


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Out of tokens, or stopped by the user within `stopped_in_ms`. The partial output is kept."""

    reason: Literal["max_output_tokens", "cancelled"]
    usage: Usage | None = None
    stopped_in_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    error: ParleyError


Ending = Completed | Incomplete | Failed
Step = Created | WindowUse | OutputDelta | Ending


class Turn:
    """Produces each event exactly once and in order. Nothing follows the one terminal event, whose resource is the
    `outcome`.

    A delta is numbered by its `step`, so its log calls that late, when it has merged the delta with its neighbours.
    """

    def __init__(self, request: TurnRequest) -> None:
        self.request = request
        self._window: WindowUse | None = None
        self.outcome: Response | None = None
        self._next_number = 0
        self._output = Output(self._take_number, request.response_id, request.first_position)

    def step(self, step: Step) -> Sequence[e.Event]:
        match step:
            case TextDelta() | ReasoningTextDelta() | ToolCallDelta():
                return self._output.add(step)
            case Created():
                return [e.ResponseCreated(self._take_number(), self.response("in_progress"))]
            case WindowUse():
                announced, self._window = self._window is not None, step
                return [] if announced else [e.ResponseInProgress(self._take_number(), self.response("in_progress"))]
            case _:
                return self._end(step)

    def replay(self, event: e.Event) -> None:
        """Applies an event that an earlier owner of the turn has logged. They come in order, from the first."""
        self._next_number = event.sequence_number + 1
        self._output.replay(event)
        match event:
            case e.ResponseInProgress(response=response):
                self._window = response.window or WindowUse(0, None, None)
            case e.ResponseCompleted() | e.ResponseIncomplete() | e.ResponseFailed():
                self.outcome = event.response

    def restart(self) -> None:
        """The engine generates the output again from its start; none of it was shown."""
        self._output.restart()

    @property
    def nothing_shown(self) -> bool:
        return not self._output.items("completed")

    @property
    def text_is_open(self) -> bool:
        """The last output shown is text, so it can be continued by token ids."""
        return self._output.open_kind is TextDelta

    def _end(self, ending: Ending) -> list[e.Event]:
        # Every response is in progress before it ends, also one that failed before its window was chosen.
        begin = [] if self._window else list(self.step(WindowUse(0, None, None)))
        return [*begin, *self._final_events(ending)]

    def _final_events(self, ending: Ending) -> list[e.Event]:
        if isinstance(ending, Failed):
            error = ending.error
            events = self._output.close("incomplete")  # without any output there is no message
            flat = (error.status, error.code, error.message, error.param)
            events.append(e.TurnError(self._take_number(), *flat, e.error_body(error)))
        elif self.request.generate:
            events = self._output.close_with_message(item_status(ending))
        else:
            events = []
        terminal = self._terminal(ending)
        self.outcome = terminal.response
        return [*events, terminal]

    def _terminal(self, ending: Ending) -> e.Terminal:
        match ending:
            case Completed(usage, at):
                response = self.response("completed", usage=usage, completed_at=at)
                return e.ResponseCompleted(self._take_number(), response)
            case Incomplete(reason, usage, stopped_in_ms):
                details = IncompleteDetails(reason, msgspec.UNSET if stopped_in_ms is None else stopped_in_ms)
                response = self.response("incomplete", usage=usage, incomplete_details=details)
                return e.ResponseIncomplete(self._take_number(), response)
            case Failed(error):
                response = self.response("failed", error=ErrorDetails(error.code, error.message))
                return e.ResponseFailed(self._take_number(), response)

    def _take_number(self) -> int:
        if self.outcome is not None:
            raise RuntimeError("a turn has exactly one terminal event")
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
        request, sampling, options = self.request, self.request.sampling, self.request.options
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
            tools=options.tools,
            tool_choice=options.tool_choice,
            truncation=request.truncation,
            parallel_tool_calls=options.parallel_tool_calls,
            text=TextConfig(_with_strict(options.format)),
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
            window=self._window_use(usage),
        )

    def _window_use(self, usage: Usage | None) -> WindowUse | None:
        """With the engine's own token count, once it is known."""
        if self._window is None or usage is None:
            return self._window
        return WindowUse(self._window.items_left_out, usage.input_tokens, self._window.context_tokens)


def item_status(ending: Ending) -> ItemStatus:
    return "completed" if isinstance(ending, Completed) else "incomplete"


def _with_strict(text_format: TextFormat) -> TextFormat:
    """A response has a boolean where a request may leave it out."""
    if isinstance(text_format, JsonSchema):
        return msgspec.structs.replace(text_format, strict=bool(text_format.strict))
    return text_format
