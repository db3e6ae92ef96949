"""Running one turn: the engine's pieces go into its log, the answer into history, and then comes the one ending."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import anyio

from gateway.conversation import Window
from gateway.errors import ContextLengthExceeded, InternalError, ParleyError, Unavailable
from gateway.generation import Called, Finished, PromptRead, Thought, Tokens, Used
from gateway.protocol.items import Item, Message, text_of
from gateway.protocol.resources import Usage
from gateway.turn import Completed, CutShort, Ending, Failed, TurnRequest
from gateway.turn_log.writer import TurnLog
from gateway.turns.acceptance import Accepted
from gateway.turns.ports import Accounting, ModelServer, Threads, Titles
from gateway.turns.window import measurement, use_of, window

logger = logging.getLogger(__name__)

_COMMIT_PAUSE_SECONDS = 0.5
# A warm-up reads the prompt into the engine's prefix cache; an engine has to be asked for one token at least.
_WARM_UP_TOKENS = 1


@dataclass(slots=True)
class _Tally:
    """The engine's own numbers at its end, or its token ids counted for an answer that was cut short."""

    input_tokens: int = 0
    output_tokens: int = 0
    told: Usage | None = None

    @property
    def usage(self) -> Usage | None:
        if self.told is not None or not self.input_tokens:
            return self.told
        return Usage(self.input_tokens, self.output_tokens, self.input_tokens + self.output_tokens)


@dataclass(slots=True)
class RunningTurn:
    accepted: Accepted
    log: TurnLog
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    tally: _Tally = field(default_factory=_Tally)
    window: Window | None = None
    ending: Ending | None = None

    @property
    def request(self) -> TurnRequest:
        return self.accepted.turn.request

    @property
    def said(self) -> tuple[Item, ...]:
        """Everything up to here, the answer included: what a next turn goes on from."""
        outcome = self.accepted.turn.outcome
        return (*self.accepted.items, *(outcome.output if outcome else ()))

    def stop(self) -> None:
        """Idempotent; closes the stream from the engine, keeps what it has said."""
        self.scope.cancel()


class Runner:
    def __init__(self, engine: ModelServer, threads: Threads, accounting: Accounting, titles: Titles) -> None:
        self._engine = engine
        self._threads = threads
        self._accounting = accounting
        self._titles = titles

    async def run(self, running: RunningTurn) -> None:
        """Whatever happens in here, the log gets its one ending: followers wait for nothing else."""
        started = time.monotonic()
        ending: Ending = CutShort("cancelled")
        with running.scope:
            ending = await _ending_of(self._answer(running), running.request.response_id)
        if isinstance(ending, CutShort):
            ending = replace(ending, usage=running.tally.usage)
        running.ending = ending
        entries = running.log.finish(ending)
        # Apart from the answer: what was shown is kept however that ended.
        await self._commit(running)
        running.log.add(entries)
        await running.log.frames.end()
        _log_end(running, time.monotonic() - started)
        await self._afterwards(running)

    async def _answer(self, running: RunningTurn) -> Ending:
        chosen = await self._choose(running)
        try:
            reason = await self._stream(running, chosen)
        except ContextLengthExceeded:
            if chosen.count is not None:
                raise
            # The engine has come back with a smaller context than the one that proved there was room.
            reason = await self._stream(running, await self._choose(running, count_again=True))
        if reason == "length" and running.request.generate:
            return CutShort("max_output_tokens")
        return Completed(running.tally.usage, int(time.time()))

    async def _choose(self, running: RunningTurn, *, count_again: bool = False) -> Window:
        chosen = await window(self._engine, running.accepted, count_again=count_again)
        running.window = chosen
        running.log.append(use_of(running.accepted, chosen))
        return chosen

    async def _stream(self, running: RunningTurn, chosen: Window) -> str:
        request, tally = running.request, running.tally
        sampling = request.sampling
        if chosen.room is not None:
            most = min(sampling.max_output_tokens or chosen.room, chosen.room)
            sampling = replace(sampling, max_output_tokens=most)
        if not request.generate:
            sampling = replace(sampling, max_output_tokens=_WARM_UP_TOKENS)
        reason = "stop"
        stream = self._engine.stream(
            chosen.prompts, sampling, request.form, user_id=request.user_id, request_id=f"{request.response_id}-1"
        )
        async with aclosing(stream):
            async for event in stream:
                match event:
                    case Tokens() | Thought() | Called():
                        tally.output_tokens += len(event.token_ids)
                        if request.generate:
                            running.log.append(event)
                    case PromptRead():
                        tally.input_tokens = len(event.token_ids)
                    case Finished():
                        reason = event.reason
                    case Used():
                        tally.told = event.usage
        return reason

    async def _commit(self, running: RunningTurn) -> None:
        """The answer is in history before anybody hears that it is complete, however long Redis stays away."""
        request, outcome = running.request, running.accepted.turn.outcome
        if request.thread is None or outcome is None:
            return
        measured = measurement(running.accepted, running.window, outcome.usage) if running.window else None
        while True:
            try:
                await self._threads.commit(request.user_id, request.thread, outcome, outcome.output, measured)
            except Unavailable:
                await asyncio.sleep(_COMMIT_PAUSE_SECONDS)
            except Exception:
                logger.exception("an answer could not be kept", extra={"response": request.response_id})
                return
            else:
                return

    async def _afterwards(self, running: RunningTurn) -> None:
        """Nobody waits for this."""
        request, usage = running.request, running.tally.usage
        if usage is not None:
            await self._accounting.add(request.user_id, usage)
        said = running.accepted.context.said
        if request.conversation_id is None or said.titled or said.before or not isinstance(running.ending, Completed):
            return
        asked = [item for item in running.accepted.asked if isinstance(item, Message) and item.role == "user"]
        outcome = running.accepted.turn.outcome
        answer = "".join(text_of(item) for item in outcome.output) if outcome else ""
        if asked:
            self._titles.consider(request.user_id, request.conversation_id, asked[0].text, answer)


async def _ending_of(work: Awaitable[Ending], response_id: str) -> Ending:
    try:
        return await work
    except ParleyError as exc:
        return Failed(exc)
    except Exception:
        logger.exception("turn failed unexpectedly", extra={"response": response_id})
        return Failed(InternalError())


def _log_end(running: RunningTurn, seconds: float) -> None:
    usage, ending = running.tally.usage, running.ending
    logger.info(
        "turn ended",
        extra={
            "response": running.request.response_id,
            "user": running.request.user_id,
            "ending": type(ending).__name__,
            "code": ending.error.code if isinstance(ending, Failed) else None,
            "seconds": round(seconds, 3),
            "input_tokens": usage and usage.input_tokens,
            "output_tokens": usage and usage.output_tokens,
        },
    )
