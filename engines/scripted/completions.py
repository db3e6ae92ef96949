"""The two endpoints that generate: from a request's body to a run that the pacer steps."""

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import TypeAlias

from engines.scripted import bodies, limits
from engines.scripted.chat_chunks import ChatChunks
from engines.scripted.chunks import DONE, CompletionChunks, ResponseHead, ResponseOptions, error_event
from engines.scripted.connection import Connection, frame
from engines.scripted.errors import BadGrammar, EngineBusy, ScriptedStatus
from engines.scripted.generation import Generation, StopConditions, generate, plan
from engines.scripted.outputs import EventStream, WholeBody
from engines.scripted.pacer import Pacer
from engines.scripted.prompts import check_model, prompt_of
from engines.scripted.request_log import LoggedRequest
from engines.scripted.requests import ChatRequest, CompletionRequest
from engines.scripted.run import Output, Run, Timing
from engines.scripted.script import Script
from engines.scripted.settings import EngineSettings
from engines.scripted.tools import NamedTool, check_parser

AnyCompletion: TypeAlias = ChatRequest | CompletionRequest


@dataclass(frozen=True, slots=True)
class Job:
    """A validated request: what to generate, how, and how to render it."""

    head: ResponseHead
    options: ResponseOptions
    generation: Generation
    script: Script
    chat: bool
    stream: bool
    interval: int

    def output(self, connection: Connection) -> Output:
        content = (self.head, self.generation, self.options)
        if self.stream:
            return EventStream(connection, (ChatChunks if self.chat else CompletionChunks)(*content))
        return WholeBody(connection, (bodies.chat_completion if self.chat else bodies.completion)(*content))


class Completions:
    def __init__(self, settings: EngineSettings, pacer: Pacer) -> None:
        self._settings = settings
        self._pacer = pacer

    def start(self, request: AnyCompletion, posted: Script, entry: LoggedRequest, connection: Connection) -> None:
        """Raises EngineError for a request that vLLM refuses, and for a scripted status."""
        try:
            job = self._prepare(request, posted, entry)
        except BadGrammar as exc:
            if not request.stream:
                raise
            # vLLM compiles grammars when generation starts, after it has sent the headers.
            entry.status = 200
            _send_error_event(connection, exc)
            return
        if job.script.status is not None:
            raise ScriptedStatus(job.script.status)
        entry.status = 200
        if job.script.hold:
            asyncio.get_running_loop().call_later(job.script.hold, self._begin, job, entry, connection)
        else:
            self._begin(job, entry, connection)

    def _prepare(self, request: AnyCompletion, posted: Script, entry: LoggedRequest) -> Job:
        context = self._settings.max_model_len
        check_model(request.model, self._settings.model)
        limits.check_supported(request)
        if isinstance(request, ChatRequest):
            check_parser(request.tools, request.tool_choice, self._settings.tool_call_parser)
        self._check_queue()
        requested = limits.requested_tokens(request, context)
        prompt = prompt_of(request, context)
        max_tokens = limits.output_budget(requested, len(prompt.ids), context)
        limits.check_sampling(request, max_tokens)
        planned = plan(prompt.ids, posted, request.constraint())
        return Job(
            head=self._head(request, entry),
            options=self._options(request, prompt.text),
            generation=generate(planned, _stop_conditions(request, max_tokens)),
            script=planned.script,
            chat=isinstance(request, ChatRequest),
            stream=bool(request.stream),
            interval=max(request.stream_interval or 1, self._settings.stream_interval),
        )

    def _check_queue(self) -> None:
        limit = self._settings.max_num_queued_reqs
        if limit is not None and len(self._pacer.running) + len(self._pacer.waiting) >= limit:
            raise EngineBusy

    def _begin(self, job: Job, entry: LoggedRequest, connection: Connection) -> None:
        if connection.closed:
            return
        script, defaults = job.script, self._settings
        timing = Timing(
            defaults.first_seconds if script.first is None else script.first,
            defaults.pace_seconds if script.pace is None else script.pace,
            job.interval,
        )
        run = Run(job.generation, timing, script.faults, job.output(connection))
        entry.run = run
        connection.disconnect_listener = RunCanceller(self._pacer, run)
        self._pacer.submit(run)

    def _head(self, request: AnyCompletion, entry: LoggedRequest) -> ResponseHead:
        default = request.request_id or secrets.token_hex(8)
        prefix = "chatcmpl" if isinstance(request, ChatRequest) else "cmpl"
        request_id = entry.request.headers.get("x-request-id", default)
        return ResponseHead(f"{prefix}-{request_id}", int(time.time()), self._settings.model)

    def _options(self, request: AnyCompletion, prompt_text: str | None) -> ResponseOptions:
        stream_options = request.stream_options
        usage = bool(stream_options and stream_options.include_usage)
        parsed = (
            _parser_options(request) if isinstance(request, ChatRequest) and self._settings.tool_call_parser else {}
        )
        return ResponseOptions(
            token_ids=bool(request.return_token_ids),
            usage=usage,
            continuous_usage=usage and bool(stream_options and stream_options.continuous_usage_stats),
            prompt_text=prompt_text if isinstance(request, ChatRequest) and request.return_prompt_text else None,
            prompt_details=self._settings.enable_prompt_tokens_details,
            **parsed,
        )


@dataclass(frozen=True, slots=True)
class RunCanceller:
    """Cancels a run when its client disconnects."""

    pacer: Pacer
    run: Run

    def client_disconnected(self) -> None:
        if not self.run.state.is_final:
            self.pacer.cancel(self.run)


def _parser_options(request: ChatRequest) -> dict[str, bool]:
    named = isinstance(request.tool_choice, NamedTool)
    return {
        "parser": True,
        "calls": request.can_call_tools,
        "parallel_calls": request.parallel_tool_calls is not False,
        "forced_call": named or request.tool_choice == "required",
        "named_call": named,
    }


def _send_error_event(connection: Connection, error: BadGrammar) -> None:
    connection.open_stream()
    connection.send(frame(error_event(error.body())) + frame(DONE))
    connection.close_stream()


def _stop_conditions(request: AnyCompletion, max_tokens: int) -> StopConditions:
    stop_ids = frozenset(request.stop_token_ids or ())
    return StopConditions(max_tokens, request.stops, stop_ids, request.include_stop_str_in_output)
