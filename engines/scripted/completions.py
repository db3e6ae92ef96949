"""The two endpoints that generate: from a request's body to a run that the pacer paces."""

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import TypeAlias

from engines.scripted import bodies, limits
from engines.scripted.chat_chunks import ChatChunks
from engines.scripted.chunks import DONE, CompletionChunks, Extras, Head, failed_event
from engines.scripted.connection import Connection, frame
from engines.scripted.errors import BadGrammar, EngineBusy, Ordered
from engines.scripted.generation import Generation, Wanted, generate, plan
from engines.scripted.journal import Entry
from engines.scripted.outputs import EventStream, WholeBody
from engines.scripted.pacer import Pacer
from engines.scripted.prompts import check_model, prompt_of
from engines.scripted.requests import ChatRequest, CompletionRequest
from engines.scripted.run import Output, Run, Tempo
from engines.scripted.script import Script
from engines.scripted.settings import EngineSettings
from engines.scripted.tools import NamedTool, check_parser

AnyCompletion: TypeAlias = ChatRequest | CompletionRequest


@dataclass(frozen=True, slots=True)
class Job:
    """A request that was understood: what will be generated, how, and how it is told."""

    head: Head
    extras: Extras
    generation: Generation
    script: Script
    chat: bool
    stream: bool
    interval: int

    def output(self, connection: Connection) -> Output:
        told = (self.head, self.generation, self.extras)
        if self.stream:
            return EventStream(connection, (ChatChunks if self.chat else CompletionChunks)(*told))
        return WholeBody(connection, (bodies.chat_completion if self.chat else bodies.completion)(*told))


class Completions:
    def __init__(self, settings: EngineSettings, pacer: Pacer) -> None:
        self._settings = settings
        self._pacer = pacer

    def start(self, request: AnyCompletion, posted: Script, entry: Entry, connection: Connection) -> None:
        """Raises EngineError for what vLLM refuses and for what a script orders."""
        try:
            job = self._understand(request, posted, entry)
        except BadGrammar as exc:
            if not request.stream:
                raise
            # Grammars are made when the answer begins; its headers have been sent by then.
            entry.status = 200
            _refuse_in_stream(connection, exc)
            return
        if job.script.status is not None:
            raise Ordered(job.script.status)
        entry.status = 200
        if job.script.hold:
            asyncio.get_running_loop().call_later(job.script.hold, self._begin, job, entry, connection)
        else:
            self._begin(job, entry, connection)

    def _understand(self, request: AnyCompletion, posted: Script, entry: Entry) -> Job:
        context = self._settings.max_model_len
        check_model(request.model, self._settings.model)
        limits.check_offered(request)
        if isinstance(request, ChatRequest):
            check_parser(request.tools, request.tool_choice, self._settings.tool_call_parser)
        self._check_queue()
        asked = limits.asked_tokens(request, context)
        prompt = prompt_of(request, context)
        max_tokens = limits.budget(asked, len(prompt.ids), context)
        limits.check_sampling(request, max_tokens)
        planned = plan(prompt.ids, posted, request.demand())
        return Job(
            head=self._head(request, entry),
            extras=self._extras(request, prompt.text),
            generation=generate(planned, _wanted(request, max_tokens)),
            script=planned.script,
            chat=isinstance(request, ChatRequest),
            stream=bool(request.stream),
            interval=max(request.stream_interval or 1, self._settings.stream_interval),
        )

    def _check_queue(self) -> None:
        most = self._settings.max_num_queued_reqs
        if most is not None and len(self._pacer.running) + len(self._pacer.waiting) >= most:
            raise EngineBusy

    def _begin(self, job: Job, entry: Entry, connection: Connection) -> None:
        if connection.closed:
            return
        script, defaults = job.script, self._settings
        tempo = Tempo(
            defaults.first_seconds if script.first is None else script.first,
            defaults.pace_seconds if script.pace is None else script.pace,
            job.interval,
        )
        run = Run(job.generation, tempo, script.faults, job.output(connection))
        entry.run = run
        connection.watcher = Client(self._pacer, run)
        self._pacer.submit(run)

    def _head(self, request: AnyCompletion, entry: Entry) -> Head:
        own = request.request_id or secrets.token_hex(8)
        prefix = "chatcmpl" if isinstance(request, ChatRequest) else "cmpl"
        asked = entry.request.headers.get("x-request-id", own)
        return Head(f"{prefix}-{asked}", int(time.time()), self._settings.model)

    def _extras(self, request: AnyCompletion, prompt_text: str | None) -> Extras:
        options = request.stream_options
        usage = bool(options and options.include_usage)
        parsed = _parsed(request) if isinstance(request, ChatRequest) and self._settings.tool_call_parser else {}
        return Extras(
            token_ids=bool(request.return_token_ids),
            usage=usage,
            continuous_usage=usage and bool(options and options.continuous_usage_stats),
            prompt_text=prompt_text if isinstance(request, ChatRequest) and request.return_prompt_text else None,
            prompt_details=self._settings.enable_prompt_tokens_details,
            **parsed,
        )


@dataclass(frozen=True, slots=True)
class Client:
    """Takes a run out of the engine when its client goes away."""

    pacer: Pacer
    run: Run

    def gone(self) -> None:
        if not self.run.state.over:
            self.pacer.withdraw(self.run)


def _parsed(request: ChatRequest) -> dict[str, bool]:
    named = isinstance(request.tool_choice, NamedTool)
    return {
        "parser": True,
        "calls": request.may_call,
        "parallel_calls": request.parallel_tool_calls is not False,
        "demanded_call": named or request.tool_choice == "required",
        "named_call": named,
    }


def _refuse_in_stream(connection: Connection, error: BadGrammar) -> None:
    connection.open_stream()
    connection.send(frame(failed_event(error.body())) + frame(DONE))
    connection.close_stream()


def _wanted(request: AnyCompletion, max_tokens: int) -> Wanted:
    stop_ids = frozenset(request.stop_token_ids or ())
    return Wanted(max_tokens, request.stops, stop_ids, request.include_stop_str_in_output)
