"""Runs one turn: the engine's deltas go into its log, the answer into history, and last comes the terminal event."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import anyio

from gateway.errors import InternalError, ParleyError, Unavailable
from gateway.protocol.items import Item, Message, text_of
from gateway.runtime.context_window import WindowSelection
from gateway.runtime.generation_loop import GenerationLoop
from gateway.runtime.generation_state import GenerationState
from gateway.runtime.ports import ModelServer, TitleScheduler, TurnStore, UsageRecorder
from gateway.runtime.preparation import PreparedTurn
from gateway.runtime.retry_policy import RetryPolicy
from gateway.turn.log import TurnLog
from gateway.turn.records import CommitRecord, CommitResult
from gateway.turn.state_machine import Completed, Ending, Failed, Incomplete
from gateway.turn.turn_request import TurnRequest

logger = logging.getLogger(__name__)

_COMMIT_RETRY_SECONDS = 0.5


@dataclass(slots=True)
class RunningTurn:
    """A stop and a release are requested independently of each other, and a stop prevails: the turn ends here.

    `held` is closed before the terminal event is published: a client that reads it may start another turn at once.
    """

    prepared: PreparedTurn
    log: TurnLog
    generation: GenerationState = field(default_factory=GenerationState)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ending: Ending | None = None
    is_released: bool = False
    stop_requested_at: float | None = None
    held: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        # Frees the engine: another gateway generates the rest.
        self.log.on_fenced_off(self.scope.cancel)

    @property
    def request(self) -> TurnRequest:
        return self.prepared.turn.request

    @property
    def items(self) -> tuple[Item, ...]:
        """History, input and output: what a next turn continues from."""
        outcome = self.prepared.turn.outcome
        return (*self.prepared.items, *(outcome.output if outcome else ()))

    def stop(self, seconds_ago: float = 0.0) -> None:
        """Closes the stream from the engine and keeps the partial output; idempotent. `seconds_ago`: when the user
        asked for it."""
        if self.stop_requested_at is None:
            self.stop_requested_at = time.monotonic() - seconds_ago
        self.scope.cancel()

    def stop_unless_stored(self) -> None:
        """When the only reader leaves: a stored response continues, but nobody else can read an unstored one."""
        if not self.request.stored:
            self.stop()

    def release(self) -> None:
        """Ends without a terminal event: another gateway continues the turn."""
        self.is_released = True
        self.scope.cancel()


class TurnRunner:
    def __init__(
        self,
        engine: ModelServer,
        windows: WindowSelection,
        store: TurnStore,
        usage: UsageRecorder,
        titles: TitleScheduler,
        policy: RetryPolicy,
        *,
        gateway_id: str,
    ) -> None:
        self._gateway_id = gateway_id
        self._engine = engine
        self._windows = windows
        self._store = store
        self._usage = usage
        self._titles = titles
        self._policy = policy

    async def run(self, running: RunningTurn, ending: Ending | None = None) -> None:
        """Whatever fails in here, the log gets its one terminal event, since followers wait for nothing else; only a
        turn that continues on another gateway gets none. With an `ending` there is nothing left to generate."""
        started = time.monotonic()
        loop = GenerationLoop(
            self._engine, self._windows, running.prepared, running.log, running.generation, self._policy
        )
        if ending is None:
            ending = await self._generate(running, loop)
        if ending is None or running.log.is_fenced_off:
            return
        running.ending = ending
        entries = running.log.finish(ending)
        # However the turn ended, what was shown is stored.
        await self._commit(running, loop, log_bytes=running.log.size + sum(entry.size for entry in entries))
        running.held.close()
        if not running.log.is_fenced_off:
            running.log.append_entries(entries)
        await running.log.events.wait_closed()
        if not running.log.events.is_complete:
            return
        _log_end(running, time.monotonic() - started)
        await self._record(running)

    async def _generate(self, running: RunningTurn, loop: GenerationLoop) -> Ending | None:
        """None for a turn that was released or fenced off."""
        ending: Ending | None = None
        with running.scope:
            ending = await _ending_of(self._answer(running, loop), running.request.response_id)
        running.prepared = loop.prepared
        if running.log.is_fenced_off:
            return None
        if ending is None and running.is_released and running.stop_requested_at is None:
            await _wait_flushed(running.log)
            running.log.events.close_moved()
            return None
        requested_at = running.stop_requested_at
        if ending is None:
            stopped_in_ms = _milliseconds_since(requested_at) if requested_at is not None else None
            ending = Incomplete("cancelled", stopped_in_ms=stopped_in_ms)
        # Everything shown is in the log before the answer is in history, so the two never differ.
        await _wait_flushed(running.log)
        return replace(ending, usage=running.generation.usage) if isinstance(ending, Incomplete) else ending

    async def _answer(self, running: RunningTurn, loop: GenerationLoop) -> Ending:
        reason = await loop.run()
        if reason == "length" and running.request.generate:
            return Incomplete("max_output_tokens")
        return Completed(running.generation.usage, int(time.time()))

    async def _commit(self, running: RunningTurn, loop: GenerationLoop, *, log_bytes: int) -> None:
        """The answer is in history before a follower sees that it is complete, however long Redis stays away."""
        request, outcome = running.request, running.prepared.turn.outcome
        if request.thread_id is None or outcome is None:
            return
        checkpoint = loop.chosen.checkpoint(outcome.usage) if loop.chosen else None
        record = CommitRecord(
            request.user_id,
            request.thread_id,
            outcome,
            self._gateway_id,
            checkpoint,
            running.prepared.history.snapshot.path,
            log_bytes,
        )
        while True:
            try:
                result = await self._store.commit(record)
            except Unavailable:
                await asyncio.sleep(_COMMIT_RETRY_SECONDS)
            except Exception:
                # Shown as complete, it would be gone after a reload.
                logger.exception("an answer could not be stored", extra={"response": request.response_id})
                await asyncio.sleep(_COMMIT_RETRY_SECONDS)
            else:
                if result is CommitResult.FENCED_OFF:
                    running.log.fence_off()
                elif result is CommitResult.DELETED:
                    running.log.discard_after_delivery()
                return

    async def _record(self, running: RunningTurn) -> None:
        """Usage and title, after the client has its answer."""
        request, usage = running.request, running.generation.usage
        if usage is not None:
            await self._usage.add(request.user_id, usage)
        if request.conversation_id is None or running.prepared.history.snapshot.has_title:
            return
        questions = [item for item in running.prepared.items if isinstance(item, Message) and item.role == "user"]
        outcome = running.prepared.turn.outcome
        answer = "".join(text_of(item) for item in outcome.output) if outcome else ""
        if questions:
            self._titles.schedule(request.user_id, request.conversation_id, questions[0].text, answer)


async def _ending_of(answer: Awaitable[Ending], response_id: str) -> Ending:
    try:
        return await answer
    except ParleyError as exc:
        return Failed(exc)
    except Exception:
        logger.exception("a turn failed unexpectedly", extra={"response": response_id})
        return Failed(InternalError())


async def _wait_flushed(log: TurnLog) -> None:
    try:
        await log.wait_flushed()
    except ParleyError:
        return  # `finish` makes it the ending


def _milliseconds_since(moment: float) -> int:
    return round((time.monotonic() - moment) * 1000)


def _log_end(running: RunningTurn, seconds: float) -> None:
    usage, ending = running.generation.usage, running.ending
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
