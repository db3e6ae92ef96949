"""Running one turn: the engine's pieces go into its log, the answer into history, and then comes the one ending."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace

import anyio

from gateway.errors import InternalError, ParleyError, Unavailable
from gateway.protocol.items import Item, Message, text_of
from gateway.runtime.context_window import token_count_checkpoint
from gateway.runtime.generation_loop import GenerationLoop, GenerationState
from gateway.runtime.ports import ModelServer, Titles, TurnStore, UsageStore
from gateway.runtime.preparation import PreparedTurn
from gateway.runtime.retry_policy import RetryPolicy
from gateway.turn.log import TurnLog
from gateway.turn.state_machine import Completed, Ending, Failed, Incomplete, TurnRequest

logger = logging.getLogger(__name__)

_COMMIT_PAUSE_SECONDS = 0.5


@dataclass(slots=True)
class RunningTurn:
    accepted: PreparedTurn
    log: TurnLog
    produced: GenerationState = field(default_factory=GenerationState)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ending: Ending | None = None
    released: bool = False
    stop_wished_at: float | None = None

    def __post_init__(self) -> None:
        # Frees the engine: what it makes here is not wanted any more.
        self.log.on_fenced_off = self.scope.cancel

    @property
    def request(self) -> TurnRequest:
        return self.accepted.turn.request

    @property
    def said(self) -> tuple[Item, ...]:
        """Everything up to here, the answer included: what a next turn goes on from."""
        outcome = self.accepted.turn.outcome
        return (*self.accepted.items, *(outcome.output if outcome else ()))

    def stop(self, seconds_ago: float = 0.0) -> None:
        """Idempotent; closes the stream from the engine, keeps what it has said. `seconds_ago`: when it was wished."""
        if self.stop_wished_at is None:
            self.stop_wished_at = time.monotonic() - seconds_ago
        self.scope.cancel()

    def release(self) -> None:
        """Lets go without an ending: another gateway goes on with it."""
        self.released = True
        self.scope.cancel()


class TurnRunner:
    def __init__(
        self,
        engine: ModelServer,
        threads: TurnStore,
        accounting: UsageStore,
        titles: Titles,
        patience: RetryPolicy,
        *,
        gateway_id: str,
    ) -> None:
        self._gateway_id = gateway_id
        self._engine = engine
        self._threads = threads
        self._accounting = accounting
        self._titles = titles
        self._patience = patience

    async def run(self, running: RunningTurn, ending: Ending | None = None) -> None:
        """Whatever happens in here, the log gets its one ending: followers wait for nothing else. Only a turn that goes
        on elsewhere has none. With an `ending` there is nothing left to produce."""
        started = time.monotonic()
        production = GenerationLoop(self._engine, running.accepted, running.log, running.produced, self._patience)
        if ending is None:
            ending = await self._produced(running, production)
        if ending is None or running.log.is_fenced_off:
            return
        running.ending = ending
        entries = running.log.finish(ending)
        # Apart from the answer: what was shown is kept however that ended.
        await self._commit(running, production)
        if not running.log.is_fenced_off:
            running.log.append_entries(entries)
        await running.log.frames.wait_closed()
        if not running.log.frames.is_complete:
            return
        _log_end(running, time.monotonic() - started)
        await self._afterwards(running)

    async def _produced(self, running: RunningTurn, production: GenerationLoop) -> Ending | None:
        """None for a turn that was let go."""
        ending: Ending | None = None
        with running.scope:
            ending = await _ending_of(self._answer(running, production), running.request.response_id)
        if running.log.is_fenced_off:
            return None
        if ending is None and running.released and running.stop_wished_at is None:
            await _flushed(running.log)
            running.log.frames.close(moved=True)
            return None
        wished = running.stop_wished_at
        if ending is None:
            ending = Incomplete("cancelled", stopped_in_ms=_since(wished) if wished is not None else None)
        # All that was shown is in the log before the answer is in history: they never differ.
        await _flushed(running.log)
        return replace(ending, usage=running.produced.usage) if isinstance(ending, Incomplete) else ending

    async def _answer(self, running: RunningTurn, production: GenerationLoop) -> Ending:
        reason = await production.run()
        if reason == "length" and running.request.generate:
            return Incomplete("max_output_tokens")
        return Completed(running.produced.usage, int(time.time()))

    async def _commit(self, running: RunningTurn, production: GenerationLoop) -> None:
        """The answer is in history before anybody hears that it is complete, however long Redis stays away."""
        request, outcome = running.request, running.accepted.turn.outcome
        if request.thread is None or outcome is None:
            return
        measured = (
            token_count_checkpoint(running.accepted, production.window, outcome.usage) if production.window else None
        )
        while True:
            try:
                kept = await self._threads.commit(
                    request.user_id, request.thread, outcome, outcome.output, measured, owner=self._gateway_id
                )
            except Unavailable:
                await asyncio.sleep(_COMMIT_PAUSE_SECONDS)
            except Exception:
                # Told as complete it would be gone after a reload.
                logger.exception("an answer could not be kept", extra={"response": request.response_id})
                await asyncio.sleep(_COMMIT_PAUSE_SECONDS)
            else:
                if kept == "lost":
                    running.log.fence_off()
                running.log.discard_after_delivery = kept == "gone"
                return

    async def _afterwards(self, running: RunningTurn) -> None:
        """Nobody waits for this."""
        request, usage = running.request, running.produced.usage
        if usage is not None:
            await self._accounting.add(request.user_id, usage)
        if request.conversation_id is None or running.accepted.context.said.titled:
            return
        asked = [item for item in running.accepted.items if isinstance(item, Message) and item.role == "user"]
        outcome = running.accepted.turn.outcome
        answer = "".join(text_of(item) for item in outcome.output) if outcome else ""
        if asked:
            self._titles.schedule(request.user_id, request.conversation_id, asked[0].text, answer)


async def _ending_of(work: Awaitable[Ending], response_id: str) -> Ending:
    try:
        return await work
    except ParleyError as exc:
        return Failed(exc)
    except Exception:
        logger.exception("turn failed unexpectedly", extra={"response": response_id})
        return Failed(InternalError())


async def _flushed(log: TurnLog) -> None:
    try:
        await log.wait_flushed()
    except ParleyError:
        return  # `finish` tells of it


def _since(moment: float) -> int:
    return round((time.monotonic() - moment) * 1000)


def _log_end(running: RunningTurn, seconds: float) -> None:
    usage, ending = running.produced.usage, running.ending
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
