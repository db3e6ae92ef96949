"""All engines of the pool behind the interface of one: chooses a backend for each request and fails over to the next.

Requests with the same `affinity` prefer the same backend, which likely has their prefix cached: the id of a
conversation, or of a user for requests outside of one.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from gateway.engine.backend import Backend
from gateway.engine.client import EngineClient
from gateway.engine.pool import EnginePool
from gateway.errors import EngineFailed, ParleyError, Unavailable
from gateway.inference import EngineCall, EngineEvent, OutputOptions, PromptMessage, ServedModel, TokenizedPrompt

T = TypeVar("T")

# Another engine may succeed after these; a refusal or a prompt that is too long would be the same everywhere.
_FAILOVER_ERRORS = (Unavailable, EngineFailed)


class EngineBalancer:
    """Raises the errors of EngineClient; when every backend has failed, the error of the last one.

    `silence_seconds`: a cancellation after this long without an event counts as a failure of the backend.
    """

    def __init__(self, pool: EnginePool, *, silence_seconds: float = 15.0) -> None:
        self._pool = pool
        self._silence_seconds = silence_seconds

    @property
    def has_healthy(self) -> bool:
        """Whether an answer that one backend lost can continue at once on another."""
        return bool(self._pool.healthy)

    async def model(self) -> str:
        return await self._request("", EngineClient.model)

    async def served_model(self) -> ServedModel:
        """With the smallest context of all backends: each of them may have to continue any answer."""
        served = await self._request("", EngineClient.served_model)
        if served.max_model_len is None:
            return served
        return msgspec.structs.replace(served, max_model_len=self._smallest_limit(served.max_model_len))

    async def context_limit(self) -> int | None:
        """The smallest one of all backends, in tokens; None where the engines do not report it."""
        limit = await self._request("", EngineClient.context_limit)
        return None if limit is None else self._smallest_limit(limit)

    async def tokenize(
        self, prompt: tuple[PromptMessage, ...], options: OutputOptions, *, affinity: str
    ) -> TokenizedPrompt | None:
        tokenized = await self._request(affinity, lambda client: client.tokenize(prompt, options))
        return tokenized and replace(tokenized, limit=self._smallest_limit(tokenized.limit))

    async def detokenize(self, token_ids: Sequence[int], *, affinity: str) -> str:
        return await self._request(affinity, lambda client: client.detokenize(token_ids))

    def stream(self, call: EngineCall) -> AsyncGenerator[EngineEvent]:
        """Closing the iterator stops the engine within milliseconds."""
        return self._stream(call.affinity, lambda client: client.stream(call))

    def relay(self, fields: dict[str, Any], *, user_id: str, request_id: str, affinity: str) -> AsyncGenerator[bytes]:
        return self._stream(affinity, lambda client: client.relay(fields, user_id=user_id, request_id=request_id))

    def _candidates(self, affinity: str) -> Iterator[Backend]:
        """Each backend once, including the ejected ones after all healthy ones have failed."""
        tried: set[Backend] = set()
        while left := [backend for backend in self._pool.order(affinity) if backend not in tried]:
            tried.add(left[0])
            yield left[0]

    async def _request(self, affinity: str, send: Callable[[EngineClient], Awaitable[T]]) -> T:
        error: ParleyError = Unavailable("vllm")
        for backend in self._candidates(affinity):
            try:
                return await send(backend.client)
            except _FAILOVER_ERRORS as exc:
                self._pool.report_failure(backend, exc)
                error = exc
        raise error

    async def _stream(self, affinity: str, start: Callable[[EngineClient], AsyncGenerator[T]]) -> AsyncGenerator[T]:
        """Fails over only before the first event."""
        error: ParleyError = Unavailable("vllm")
        for backend in self._candidates(affinity):
            has_begun = False
            try:
                async with aclosing(self._stream_from(backend, start(backend.client))) as events:
                    async for event in events:
                        has_begun = True
                        yield event
            except _FAILOVER_ERRORS as exc:
                self._pool.report_failure(backend, exc)
                if has_begun:
                    raise
                error = exc
            else:
                return
        raise error

    async def _stream_from(self, backend: Backend, stream: AsyncGenerator[T]) -> AsyncGenerator[T]:
        now = asyncio.get_running_loop().time
        last_event_at = now()
        backend.running += 1
        try:
            async with aclosing(stream) as events:
                async with backend.abort_when_dead():
                    event = await anext(events, None)
                while event is not None:
                    last_event_at = now()
                    yield event
                    event = await anext(events, None)
        except asyncio.CancelledError:
            if now() - last_event_at >= self._silence_seconds:
                self._pool.report_failure(backend)
            raise
        finally:
            backend.running -= 1

    def _smallest_limit(self, limit: int) -> int:
        others = (backend.served_model and backend.served_model.max_model_len for backend in self._pool.healthy)
        return min([limit, *(other for other in others if other)])
