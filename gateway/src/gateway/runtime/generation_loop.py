"""Gets one answer from the engine, in as many calls as it takes.

An engine that dies or falls silent is a pause: the answer continues from its token ids, at once where another engine is
healthy, else as soon as one is. An answer that an earlier gateway began continues in the same way.
"""

import asyncio
import logging
from dataclasses import replace

from gateway.context.prompt import ContextWindow
from gateway.errors import AnswerInterrupted, ContextLengthExceeded, EngineCrashed, Unavailable
from gateway.inference import EngineCall
from gateway.runtime.context_window import ChosenWindow, WindowSelection
from gateway.runtime.continuation import Continuation
from gateway.runtime.generation_state import GenerationState
from gateway.runtime.ports import ModelServer
from gateway.runtime.preparation import PreparedTurn
from gateway.runtime.retry_policy import Backoff, RetryPolicy
from gateway.runtime.stream_consumer import StreamConsumer
from gateway.turn.log import TurnLog

logger = logging.getLogger(__name__)

# A warm-up fills the engine's prefix cache with the prompt; an engine has to be asked for at least one token.
_WARM_UP_TOKENS = 1


class GenerationLoop:
    """`prepared` has as much of the history as was read so far. `chosen` is None until a context window was needed."""

    def __init__(
        self,
        engine: ModelServer,
        windows: WindowSelection,
        prepared: PreparedTurn,
        log: TurnLog,
        state: GenerationState,
        policy: RetryPolicy,
    ) -> None:
        self._engine = engine
        self._windows = windows
        self.prepared = prepared
        self._turn = prepared.turn
        self._request = prepared.turn.request
        self._log = log
        self._state = state
        self._policy = policy
        self._continuation = Continuation(engine, log, state, affinity=prepared.affinity)
        self._consumer = StreamConsumer(
            log, state, shows_output=self._request.generate, token_seconds=policy.token_seconds
        )
        self._attempts = 0
        self.chosen: ChosenWindow | None = None

    async def run(self) -> str:
        """Returns the finish reason, `stop` or `length`. Raises what the engine failed with, Unavailable once the retry
        policy is exhausted, and AnswerInterrupted for an answer that cannot be continued."""
        if self._state.finish_reason is not None:
            return self._state.finish_reason
        backoff = Backoff(self._policy.engine_seconds)
        while True:
            generated = len(self._state.token_ids)
            try:
                return await self._attempt()
            except (Unavailable, EngineCrashed) as exc:
                logger.warning("an answer waits for the engine", extra={"response": self._request.response_id})
                await self._log.wait_flushed()
                self._continuation.check_possible()
                has_progressed = len(self._state.token_ids) > generated
                delay = backoff.next_delay(progressed=has_progressed, crashed=isinstance(exc, EngineCrashed))
                if delay is None:
                    raise
                if delay or not self._engine.has_healthy:
                    await self._wait_healthy(backoff)

    async def _attempt(self) -> str:
        self._attempts += 1
        if not self._turn.nothing_shown:
            self._state.is_one_call = False
            return await self._resume()
        self._restart()
        window = await self._choose_window()
        try:
            return await self._consume(self._call(window))
        except ContextLengthExceeded:
            if window.count is not None:
                raise
            # The engine has come back with a smaller context than the one that the bound was compared with.
            return await self._consume(self._call(await self._choose_window(ignore_bound=True)))

    def _restart(self) -> None:
        """Nothing of an earlier attempt was shown."""
        self._log.drop_token_ids(len(self._state.token_ids))
        self._state.token_ids.clear()
        self._turn.restart()

    async def _resume(self) -> str:
        self._continuation.check_possible()
        await self._continuation.trim_incomplete_utf8()
        if not self._state.prompt_ids:
            self._state.prompt_ids = await self._tokenize_prompt()
        await self._continuation.check_model()
        left = await self._continuation.tokens_left()
        if left is not None and left <= 0:
            return "length"
        return await self._consume(self._continuation.call(max_output_tokens=left, request_id=self._request_id))

    async def _tokenize_prompt(self) -> tuple[int, ...]:
        window = self.chosen.window if self.chosen else await self._choose_window()
        options, affinity = self._request.options, self.prepared.affinity
        tokenized = await self._engine.tokenize(window.messages, options, affinity=affinity)
        if tokenized is None:
            raise AnswerInterrupted
        return tokenized.ids

    async def _consume(self, call: EngineCall) -> str:
        return await self._consumer.consume(self._engine.stream(call))

    def _call(self, window: ContextWindow) -> EngineCall:
        request, sampling = self._request, self._request.sampling
        if window.room is not None:
            sampling = replace(sampling, max_output_tokens=min(sampling.max_output_tokens or window.room, window.room))
        if not request.generate:
            sampling = replace(sampling, max_output_tokens=_WARM_UP_TOKENS)
        return EngineCall(
            prompt=window.messages,
            sampling=sampling,
            options=request.options,
            user_id=request.user_id,
            request_id=self._request_id,
            affinity=self.prepared.affinity,
        )

    @property
    def _request_id(self) -> str:
        return f"{self._request.response_id}-{self._attempts}"

    async def _choose_window(self, *, ignore_bound: bool = False) -> ContextWindow:
        self.chosen = await self._windows.choose(self.prepared, self._keep_loaded, ignore_bound=ignore_bound)
        self._log.append(self.chosen.use)
        return self.chosen.window

    def _keep_loaded(self, prepared: PreparedTurn) -> None:
        self.prepared = prepared

    async def _wait_healthy(self, backoff: Backoff) -> None:
        """Raises Unavailable when no engine becomes healthy in time."""
        while True:
            await asyncio.sleep(backoff.seconds)
            if self._engine.has_healthy:
                return
            if backoff.next_delay(progressed=False) is None:
                raise Unavailable("vllm")
