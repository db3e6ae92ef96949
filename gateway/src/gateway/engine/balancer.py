"""All engines as if they were one: what belongs together goes to the engine that likely holds its beginning, and to
the next one when that one fails.

`affinity` says what belongs together: a conversation's id, or a user's for what is part of none.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from gateway.engine.client import EngineClient
from gateway.engine.pool import Backend, EnginePool
from gateway.errors import EngineFailed, ParleyError, Unavailable
from gateway.inference import EngineCall, EngineEvent, OutputOptions, PromptMessage, ServedModel, TokenizedPrompt

T = TypeVar("T")

# Another engine may do better; what one has refused, or found too long, is so everywhere.
_FAILED = (Unavailable, EngineFailed)


class EngineBalancer:
    """Raises what one engine raises; when all have failed, what the last one failed with.

    `silence_seconds`: who turns away after so long a silence has given the engine up.
    """

    def __init__(self, roster: EnginePool, *, silence_seconds: float = 15.0) -> None:
        self._roster = roster
        self._silence_seconds = silence_seconds

    async def model(self) -> str:
        return await self._asked("", EngineClient.model)

    async def served(self) -> ServedModel:
        """With the smallest context of all: each of them may have to go on with any answer."""
        told = await self._asked("", EngineClient.served)
        if told.max_model_len is None:
            return told
        return msgspec.structs.replace(told, max_model_len=self._smallest(told.max_model_len))

    async def context_limit(self) -> int | None:
        """The smallest one of all, in tokens; None where the engines do not report it."""
        limit = await self._asked("", EngineClient.context_limit)
        return None if limit is None else self._smallest(limit)

    async def tokenize(
        self, prompt: tuple[PromptMessage, ...], options: OutputOptions, *, affinity: str
    ) -> TokenizedPrompt | None:
        tokenized = await self._asked(affinity, lambda engine: engine.tokenize(prompt, options))
        return tokenized and replace(tokenized, limit=self._smallest(tokenized.limit))

    async def detokenize(self, token_ids: Sequence[int], *, affinity: str) -> str:
        return await self._asked(affinity, lambda engine: engine.detokenize(token_ids))

    @property
    def has_healthy(self) -> bool:
        """Whether what one engine has failed can go on at once, on another."""
        return bool(self._roster.serving)

    def stream(self, call: EngineCall) -> AsyncGenerator[EngineEvent]:
        """Closing the iterator stops the engine within milliseconds."""
        return self._streamed(call.affinity, lambda engine: engine.stream(call))

    def relayed(self, fields: dict[str, Any], *, user_id: str, request_id: str, affinity: str) -> AsyncGenerator[bytes]:
        return self._streamed(affinity, lambda engine: engine.relayed(fields, user_id=user_id, request_id=request_id))

    def _candidates(self, affinity: str) -> Iterator[Backend]:
        """Each once, and the ones put aside when those that served have failed."""
        tried: set[Backend] = set()
        while left := [one for one in self._roster.order(affinity) if one not in tried]:
            tried.add(left[0])
            yield left[0]

    async def _asked(self, affinity: str, ask: Callable[[EngineClient], Awaitable[T]]) -> T:
        error: ParleyError = Unavailable("vllm")
        for member in self._candidates(affinity):
            try:
                return await ask(member.engine)
            except _FAILED as exc:
                self._roster.report_failure(member, exc)
                error = exc
        raise error

    async def _streamed(self, affinity: str, ask: Callable[[EngineClient], AsyncGenerator[T]]) -> AsyncGenerator[T]:
        """From one engine at a time, and from the next one only while nothing was said."""
        now = asyncio.get_running_loop().time
        error: ParleyError = Unavailable("vllm")
        for member in self._candidates(affinity):
            begun, heard = False, now()
            member.running += 1
            try:
                async with aclosing(ask(member.engine)) as pieces:
                    piece = await self._first(member, pieces)
                    while piece is not None:
                        begun, heard = True, now()
                        yield piece
                        piece = await anext(pieces, None)
            except _FAILED as exc:
                self._roster.report_failure(member, exc)
                if begun:
                    raise
                error = exc
            except asyncio.CancelledError:
                if now() - heard >= self._silence_seconds:
                    self._roster.report_failure(member)
                raise
            else:
                return
            finally:
                member.running -= 1
        raise error

    async def _first(self, member: Backend, pieces: AsyncGenerator[T]) -> T | None:
        """Raises Unavailable also when the engine is found dead meanwhile."""
        try:
            async with asyncio.timeout(None) as wait:
                member.waiting.add(wait)
                try:
                    return await anext(pieces, None)
                finally:
                    member.waiting.discard(wait)
        except TimeoutError as exc:
            raise Unavailable("vllm") from exc

    def _smallest(self, limit: int) -> int:
        told = (one.served and one.served.max_model_len for one in self._roster.serving)
        return min([limit, *(one for one in told if one)])
