"""Running turns, and finding the running ones.

A turn runs in a task of its own: nobody has to be listening for it to finish, and a closed socket stops nothing.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Protocol

import anyio

from gateway.conversation import Count, Exchange, Prompt, exchanges, fit
from gateway.errors import InternalError, ModelNotFound, NotFound, ParleyError, Unavailable
from gateway.generation import EngineEvent, Finished, Sampling, Tokens, Used
from gateway.protocol.ids import new_message_id, new_response_id
from gateway.protocol.requests import ResponseCreate
from gateway.protocol.resources import Message, Usage
from gateway.turn import Completed, CutShort, Ending, Failed, Turn, TurnRequest, status_of
from gateway.turn_log import TurnLog

logger = logging.getLogger(__name__)

# An answer shorter than this is not worth starting: older turns make room for it.
ROOM_FOR_AN_ANSWER_TOKENS = 256
# What a stopped turn may take to save its text while the process goes: Docker kills after 15 s in all.
_LAST_WORDS_SECONDS = 4.0
_COMMIT_PAUSES_SECONDS = (0.1, 0.4, 1.6, 3.2)


class ModelServer(Protocol):
    async def model(self) -> str: ...
    async def count(self, prompts: tuple[Prompt, ...]) -> Count | None: ...
    def stream(
        self, prompts: tuple[Prompt, ...], sampling: Sampling, *, user_id: str, request_id: str
    ) -> AsyncGenerator[EngineEvent]: ...


class Conversations(Protocol):
    async def reserve(self, user_id: str, conversation_id: str, count: int) -> tuple[list[Message], int]: ...
    async def append(self, user_id: str, conversation_id: str, items: Sequence[Message]) -> None: ...


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a request that does not say otherwise gets."""

    system_prompt: str
    sampling: Sampling


@dataclass(slots=True)
class RunningTurn:
    turn: Turn
    log: TurnLog = field(default_factory=TurnLog)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    @property
    def response_id(self) -> str:
        return self.turn.request.response_id

    def stop(self) -> None:
        """Idempotent; closes the stream from the engine, keeps what it has said."""
        self.scope.cancel()


class Turns:
    def __init__(self, engine: ModelServer, history: Conversations, defaults: Defaults) -> None:
        self._engine = engine
        self._history = history
        self._defaults = defaults
        self._running: dict[str, RunningTurn] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, user_id: str, create: ResponseCreate) -> RunningTurn:
        """Accepts the user's message, after which it is in history exactly once, and starts the answer.

        Raises NotFound, ModelNotFound or Unavailable; then nothing was accepted.
        """
        model = await self._engine.model()
        if create.model not in (None, "", model):
            raise ModelNotFound(create.model or "", model)
        # Whoever hangs up in the middle of this has asked all the same, and finds the answer later.
        with anyio.CancelScope(shield=True):
            running = await self._accept(user_id, create, model)
        return running  # noqa: RET504 - mypy: a scope may swallow what leaves it

    async def _accept(self, user_id: str, create: ResponseCreate, model: str) -> RunningTurn:
        before, position = await self._reserve(user_id, create)
        asked = [message.at(position + offset) for offset, message in enumerate(create.messages)]
        if create.conversation_id is not None:
            await self._history.append(user_id, create.conversation_id, asked)
        turn = Turn(self._request(user_id, create, model, new_message_id(position + len(asked))))
        running = RunningTurn(turn)
        running.log.append(turn.start())
        system = Prompt("system", create.instructions or self._defaults.system_prompt)
        # What is asked now stands or falls together; of what was said before, whole turns may be left out.
        turns = [*exchanges(_prompts(before)), _prompts(asked)]
        self._spawn(running, system, turns)
        return running

    def find(self, user_id: str, response_id: str) -> RunningTurn:
        """Raises NotFound, for a foreign response as for an absent one."""
        running = self._running.get(response_id)
        if running is None or running.turn.request.user_id != user_id:
            raise NotFound("running response", param="response_id")
        return running

    async def drain(self, seconds: float) -> None:
        """Lets the running turns finish; those that do not in time are stopped with their text kept."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for running in self._running.values():
            running.stop()
        if self._tasks:
            _, silent = await asyncio.wait(self._tasks, timeout=_LAST_WORDS_SECONDS)
            for task in silent:
                task.cancel()
            await asyncio.gather(*silent, return_exceptions=True)

    async def _reserve(self, user_id: str, create: ResponseCreate) -> tuple[list[Message], int]:
        if create.conversation_id is None:
            return [], 0
        return await self._history.reserve(user_id, create.conversation_id, len(create.messages) + 1)

    def _request(self, user_id: str, create: ResponseCreate, model: str, message_id: str) -> TurnRequest:
        usual = self._defaults.sampling
        sampling = Sampling(
            temperature=usual.temperature if create.temperature is None else create.temperature,
            top_p=usual.top_p if create.top_p is None else create.top_p,
            repetition_penalty=usual.repetition_penalty,
            max_output_tokens=create.max_output_tokens or usual.max_output_tokens,
        )
        return TurnRequest(
            response_id=new_response_id(),
            message_id=message_id,
            user_id=user_id,
            model=model,
            sampling=sampling,
            created_at=int(time.time()),
            conversation_id=create.conversation_id,
            instructions=create.instructions,
            metadata=create.metadata or {},
            max_output_tokens=create.max_output_tokens,
            truncation=create.truncation or "disabled",
        )

    def _spawn(self, running: RunningTurn, system: Prompt, turns: Sequence[Exchange]) -> None:
        self._running[running.response_id] = running
        task = asyncio.create_task(self._run(running, system, turns), name=running.response_id)
        self._tasks.add(task)

        def forget(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            del self._running[running.response_id]

        task.add_done_callback(forget)

    async def _run(self, running: RunningTurn, system: Prompt, turns: Sequence[Exchange]) -> None:
        """Whatever happens in here, the log gets its one ending: followers wait for nothing else."""
        started = time.monotonic()
        ending: Ending = CutShort("cancelled")
        with running.scope:
            ending = await _ending_of(self._answer(running, system, turns), running.response_id)
        # Apart from the answer: what was shown is kept however that ended.
        ending = await _ending_of(self._commit(running.turn, ending), running.response_id)
        running.log.append(running.turn.end(ending))
        _log_end(running.turn.request, ending, time.monotonic() - started)

    async def _answer(self, running: RunningTurn, system: Prompt, turns: Sequence[Exchange]) -> Ending:
        turn, request = running.turn, running.turn.request
        window = await fit(
            system,
            turns,
            count=self._engine.count,
            room_wanted=ROOM_FOR_AN_ANSWER_TOKENS,
            may_leave_out=request.truncation == "auto",
        )
        sampling = request.sampling
        if window.room is not None:
            most = min(sampling.max_output_tokens or window.room, window.room)
            sampling = replace(sampling, max_output_tokens=most)
        usage: Usage | None = None
        reason = "stop"
        stream = self._engine.stream(
            window.prompts, sampling, user_id=request.user_id, request_id=f"{request.response_id}-1"
        )
        async with aclosing(stream):
            async for event in stream:
                match event:
                    case Tokens(text):
                        running.log.append(turn.delta(text))
                    case Finished():
                        reason = event.reason
                    case Used():
                        usage = event.usage
        if reason == "length":
            return CutShort("max_output_tokens", usage)
        return Completed(usage, int(time.time()))

    async def _commit(self, turn: Turn, ending: Ending) -> Ending:
        """The answer is in history before anybody hears that it is complete. Raises Unavailable when Redis stays
        away."""
        conversation_id = turn.request.conversation_id
        if conversation_id is None or not turn.text:
            return ending
        message = turn.message(status_of(ending))
        for pause in _COMMIT_PAUSES_SECONDS:
            try:
                await self._history.append(turn.request.user_id, conversation_id, [message])
            except Unavailable:
                await asyncio.sleep(pause)
            else:
                return ending
        await self._history.append(turn.request.user_id, conversation_id, [message])
        return ending


async def _ending_of(work: Awaitable[Ending], response_id: str) -> Ending:
    try:
        return await work
    except ParleyError as exc:
        return Failed(exc)
    except Exception:
        logger.exception("turn failed unexpectedly", extra={"response": response_id})
        return Failed(InternalError())


def _prompts(items: Sequence[Message]) -> Exchange:
    return tuple(Prompt(item.role, item.text) for item in items if item.text)


def _log_end(request: TurnRequest, ending: Ending, seconds: float) -> None:
    usage = None if isinstance(ending, Failed) else ending.usage
    logger.info(
        "turn ended",
        extra={
            "response": request.response_id,
            "user": request.user_id,
            "ending": type(ending).__name__,
            "code": ending.error.code if isinstance(ending, Failed) else None,
            "seconds": round(seconds, 3),
            "input_tokens": usage and usage.input_tokens,
            "output_tokens": usage and usage.output_tokens,
        },
    )
