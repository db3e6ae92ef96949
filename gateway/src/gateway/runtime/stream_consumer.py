"""Consumes one completion of the engine: deltas go into the turn's log, everything else into the generation's state."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.errors import EngineCrashed, Unavailable
from gateway.inference import (
    EngineEvent,
    Finished,
    OutputDelta,
    PromptTokens,
    ReasoningTextDelta,
    TextDelta,
    ToolCallDelta,
    UsageReport,
    size_bytes,
)
from gateway.runtime.generation_state import GenerationState
from gateway.turn.log import TurnLog

# For an engine whose context is unknown: several times the longest answer of those whose context is known.
MAX_ANSWER_BYTES = 2**21


class StreamConsumer:
    """All completions of one turn."""

    def __init__(self, log: TurnLog, state: GenerationState, *, shows_output: bool, token_seconds: float) -> None:
        """`token_seconds`: how long the engine may be silent once it has begun."""
        self._log = log
        self._state = state
        self._shows_output = shows_output
        self._token_seconds = token_seconds
        self._answer_bytes = 0

    async def consume(self, stream: AsyncGenerator[EngineEvent]) -> str:
        """Returns the finish reason, `stop` or `length`. Raises Unavailable for a silent engine too.

        A failure after the finish reason changes nothing: the answer is complete, and its last token id may be the
        end-of-sequence token, which cannot be continued.
        """
        now = asyncio.get_running_loop().time
        reason: str | None = None
        async with aclosing(stream):
            try:
                async with asyncio.timeout(None) as silence:
                    async for event in stream:
                        silence.reschedule(now() + self._token_seconds)
                        reason = self._handle(event) or reason
                        if self._answer_bytes > MAX_ANSWER_BYTES:
                            return "length"
            except TimeoutError as exc:
                if reason is None:
                    raise Unavailable("vllm") from exc
            except (Unavailable, EngineCrashed):
                if reason is None:
                    raise
        return reason or "stop"

    def _handle(self, event: EngineEvent) -> str | None:
        """Returns the finish reason of the event that carries it."""
        match event:
            case TextDelta() | ReasoningTextDelta() | ToolCallDelta():
                self._append(event)
            case PromptTokens():
                self._state.prompt_ids = event.token_ids
                self._log.record_prompt_tokens(len(event.token_ids))
            case Finished():
                self._log.record_finish_reason(event.reason)
                return event.reason
            case UsageReport():
                self._state.reported = event.usage
        return None

    def _append(self, delta: OutputDelta) -> None:
        self._state.token_ids += delta.token_ids
        if self._shows_output:
            self._log.append(delta)
            self._answer_bytes += size_bytes(delta)
