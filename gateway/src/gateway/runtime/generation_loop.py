"""Getting one answer out of the engine, however often it has to be asked.

An engine that dies or falls silent is a pause: the answer goes on from its token ids, at once where another engine
serves, else as soon as a probe finds one. What an earlier gateway has told goes on the same way.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from gateway.context.prompt import ContextWindow
from gateway.errors import (
    AnswerInterrupted,
    ContextLengthExceeded,
    EngineCrashed,
    EngineFailed,
    ParleyError,
    Unavailable,
)
from gateway.inference import (
    EngineEvent,
    Finished,
    PromptTokens,
    ReasoningTextDelta,
    TextDelta,
    ToolCallDelta,
    UsageReport,
    size_of,
)
from gateway.protocol.resources import Usage
from gateway.runtime.context_window import window, window_use
from gateway.runtime.ports import ModelServer
from gateway.runtime.preparation import PreparedTurn
from gateway.runtime.retry_policy import Backoff, RetryPolicy
from gateway.turn.log import TurnLog

logger = logging.getLogger(__name__)

# A warm-up reads the prompt into the engine's prefix cache; an engine has to be asked for one token at least.
_WARM_UP_TOKENS = 1
# The longest character has four bytes, and a token one at least.
_CHARACTER_TOKENS = 4
_TORN = "\ufffd"
# What an engine whose context is not known may say: several times the longest answer of those that are.
ANSWER_BYTES = 2**21


@dataclass(slots=True)
class GenerationState:
    """What the engine has made of an answer so far, through whichever gateway. `prompt_tokens` where nobody has needed
    the `prompt_ids` here. `reason`: why it ended, where that is known."""

    token_ids: list[int] = field(default_factory=list)
    prompt_ids: tuple[int, ...] = ()
    prompt_tokens: int = 0
    reason: str | None = None
    told: Usage | None = None
    whole: bool = True

    @property
    def usage(self) -> Usage | None:
        """The engine's own numbers; its ids counted where it was asked more than once, or cut short."""
        if self.told is not None and self.whole:
            return self.told
        read, said = len(self.prompt_ids) or self.prompt_tokens, len(self.token_ids)
        return Usage(read, said, read + said) if read else None


class GenerationLoop:
    def __init__(
        self,
        engine: ModelServer,
        accepted: PreparedTurn,
        log: TurnLog,
        produced: GenerationState,
        patience: RetryPolicy,
    ) -> None:
        self._engine = engine
        self._accepted = accepted
        self._request = accepted.turn.request
        self._log = log
        self._produced = produced
        self._patience = patience
        self._attempts = self._said_bytes = 0
        self.window: ContextWindow | None = None

    async def run(self) -> str:
        """Why the answer ended: `stop` or `length`. Raises what the engine failed with, Unavailable once patience is
        at its end, and AnswerInterrupted for what can not be gone on with."""
        if self._produced.reason is not None:
            return self._produced.reason
        waiting = Backoff(self._patience.engine_seconds)
        while True:
            told = len(self._produced.token_ids)
            try:
                return await self._attempt()
            except (Unavailable, EngineCrashed) as exc:
                logger.warning("an answer waits for the engine", extra={"response": self._request.response_id})
                await self._log.wait_flushed()
                self._refuse_what_can_not_go_on()
                pause = waiting.pause(
                    progressed=len(self._produced.token_ids) > told, broke=isinstance(exc, EngineCrashed)
                )
                if pause is None:
                    raise
                if pause or not self._engine.has_healthy:
                    await self._engine_back(waiting)

    async def _attempt(self) -> str:
        self._attempts += 1
        if not self._accepted.turn.nothing_shown:
            self._produced.whole = False
            return await self._go_on()
        self._begin_again()
        chosen = await self._choose()
        try:
            return await self._relay(self._asked(chosen))
        except ContextLengthExceeded:
            if chosen.count is not None:
                raise
            # The engine has come back with a smaller context than the one that proved there was room.
            return await self._relay(self._asked(await self._choose(count_again=True)))

    def _begin_again(self) -> None:
        """Nobody has seen anything of an earlier attempt."""
        self._log.drop(len(self._produced.token_ids))
        self._produced.token_ids.clear()
        self._accepted.turn.begin_again()

    async def _go_on(self) -> str:
        self._refuse_what_can_not_go_on()
        produced = self._produced
        await self._drop_half_a_character()
        if not produced.prompt_ids:
            prompts = (self.window or await self._choose()).prompts
            produced.prompt_ids = await self._engine.prompt_ids(
                prompts, self._request.form, affinity=self._accepted.affinity
            )
        if (serves := await self._engine.model()) != self._request.model:
            raise EngineFailed(f"the model server serves {serves!r} by now; ask again")
        limit = await self._engine.limit()
        used = len(produced.prompt_ids) + len(produced.token_ids)
        left = [] if limit is None else [limit - used]
        if self._request.sampling.max_output_tokens is not None:
            left.append(self._request.sampling.max_output_tokens - len(produced.token_ids))
        if left and min(left) <= 0:
            return "length"
        sampling = replace(self._request.sampling, max_output_tokens=min(left) if left else None)
        return await self._relay(
            self._engine.resume(
                (*produced.prompt_ids, *produced.token_ids),
                sampling,
                user_id=self._request.user_id,
                request_id=self._request_id,
                affinity=self._accepted.affinity,
            )
        )

    async def _relay(self, stream: AsyncGenerator[EngineEvent]) -> str:
        """Raises Unavailable too when the engine has begun and then says nothing for too long."""
        produced, now = self._produced, asyncio.get_running_loop().time
        reason: str | None = None
        async with aclosing(stream):
            try:
                async with asyncio.timeout(None) as silence:
                    async for event in stream:
                        silence.reschedule(now() + self._patience.token_seconds)
                        match event:
                            case TextDelta() | ReasoningTextDelta() | ToolCallDelta():
                                produced.token_ids += event.token_ids
                                if self._request.generate:
                                    self._log.append(event)
                                    self._said_bytes += size_of(event)
                                if self._said_bytes > ANSWER_BYTES:
                                    return "length"
                            case PromptTokens():
                                produced.prompt_ids = event.token_ids
                                self._log.prompt_tokens = len(event.token_ids)
                            case Finished():
                                reason = self._log.finish_reason = event.reason
                            case UsageReport():
                                produced.told = event.usage
            except (TimeoutError, Unavailable) as exc:
                if reason is None:
                    raise Unavailable("vllm") from exc
        return reason or "stop"

    def _asked(self, chosen: ContextWindow) -> AsyncGenerator[EngineEvent]:
        request, sampling = self._request, self._request.sampling
        if chosen.room is not None:
            most = min(sampling.max_output_tokens or chosen.room, chosen.room)
            sampling = replace(sampling, max_output_tokens=most)
        if not request.generate:
            sampling = replace(sampling, max_output_tokens=_WARM_UP_TOKENS)
        return self._engine.stream(
            chosen.prompts,
            sampling,
            request.form,
            user_id=request.user_id,
            request_id=self._request_id,
            affinity=self._accepted.affinity,
        )

    @property
    def _request_id(self) -> str:
        return f"{self._request.response_id}-{self._attempts}"

    async def _choose(self, *, count_again: bool = False) -> ContextWindow:
        chosen = await window(self._engine, self._accepted, count_again=count_again)
        self.window = chosen
        self._log.append(window_use(self._accepted, chosen))
        return chosen

    def _refuse_what_can_not_go_on(self) -> None:
        """Ids go on as plain text: behind half a call, half a thought or half a schema that would be wrong."""
        turn = self._accepted.turn
        plain = self._produced.token_ids and self._request.form.is_plain and turn.text_is_open
        if not turn.nothing_shown and not plain:
            raise AnswerInterrupted

    async def _drop_half_a_character(self) -> None:
        """The engine goes wrong when it has to go on inside a character: its beginning is made anew."""
        ids = self._produced.token_ids
        for dropped in range(min(_CHARACTER_TOKENS, len(ids))):
            rest = ids[: len(ids) - dropped]
            said = await self._engine.detokenize(rest[-2 * _CHARACTER_TOKENS :], affinity=self._accepted.affinity)
            if not said.endswith(_TORN):
                if dropped:
                    del ids[len(ids) - dropped :]
                    self._log.drop(dropped)
                return

    async def _engine_back(self, waiting: Backoff) -> None:
        """Raises Unavailable when it stays away for longer than this deployment waits."""
        while True:
            await asyncio.sleep(waiting.seconds)
            try:
                await self._engine.probe()
            except ParleyError:
                if waiting.pause(progressed=False) is None:
                    raise Unavailable("vllm") from None
            else:
                return
