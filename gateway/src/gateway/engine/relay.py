"""A chat completion between a client and the engine: what the engine says is passed on byte for byte."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import msgspec

from gateway.engine import chat_completion_request as completion
from gateway.engine.balancer import EngineBalancer
from gateway.engine.chunks import EngineUsage, engine_events, usage
from gateway.engine.errors import TRANSPORT_ERRORS, translated
from gateway.engine.server_sent_events import data_of, whole_events
from gateway.errors import ContextLengthExceeded, EngineRefused, ParleyError, Unavailable
from gateway.inference import EngineEvent, OutputDelta, Sampling, TokenizedPrompt, UsageReport
from gateway.protocol.chat_completions import ChatCompletion
from gateway.protocol.resources import Usage


class _Answer(msgspec.Struct):
    usage: EngineUsage


_decode_answer = msgspec.json.Decoder(_Answer).decode


class ChatRelay:
    """One request. Cancelling it, or closing its events, stops the engine."""

    def __init__(self, engine: EngineBalancer, asked: ChatCompletion, sampling: Sampling, *, user_id: str) -> None:
        self._engine = engine
        self._asked = asked
        self._sampling = sampling
        self._user_id = user_id
        self._usage: Usage | None = None
        self._taken = False
        self._pieces = 0

    async def whole(self) -> bytes:
        """Raises Unavailable, ContextLengthExceeded, EngineRefused or EngineFailed."""
        async with self._chunks() as chunks:
            body = b"".join([chunk async for chunk in chunks])
            self._usage = usage(_decode_answer(body).usage)
            return body

    async def events(self) -> AsyncGenerator[bytes]:
        """Whole server-sent events, but for the usage if the client has not asked for it.

        Raises as `whole` does, also in the middle.
        """
        async with self._chunks() as chunks:
            async for event in whole_events(chunks):
                data = data_of(event)
                if data == b"[DONE]":
                    yield event
                    return
                if not data or not self._withheld(engine_events(data)):
                    yield event
            raise Unavailable("vllm")  # the stream ended before its [DONE]

    async def cost(self) -> Usage | None:
        """As the engine tells it, and None if the engine has not taken the request.

        An answer that broke off has no usage. It is told as what is certain, so it may have cost more: the engine's own
        count of the prompt (0 where the engine can not count), and one token for each piece that was passed on (none of
        an answer that was not streamed).
        """
        if self._usage is not None or not self._taken:
            return self._usage
        counted = await self._count()
        prompt = counted.count if counted else 0
        return Usage(prompt, self._pieces, prompt + self._pieces)

    def _withheld(self, events: list[EngineEvent]) -> bool:
        for event in events:
            if isinstance(event, UsageReport):
                self._usage = event.usage
            elif isinstance(event, OutputDelta):
                self._pieces += 1
        only_usage = len(events) == 1 and isinstance(events[0], UsageReport)
        return only_usage and not self._asked.include_usage

    @asynccontextmanager
    async def _chunks(self) -> AsyncGenerator[AsyncGenerator[bytes]]:
        fields = completion.request(self._asked, await self._within_the_context())
        request_id = secrets.token_hex(16)
        self._taken = True
        answer = self._engine.relayed(fields, user_id=self._user_id, request_id=request_id, affinity=self._user_id)
        try:
            async with aclosing(answer) as chunks:
                yield chunks
        except (ParleyError, *TRANSPORT_ERRORS) as exc:
            self._taken = self._pieces > 0
            raise await self._explained(exc if isinstance(exc, ParleyError) else translated(exc)) from exc

    async def _within_the_context(self) -> Sampling:
        """vLLM refuses an output limit beyond its context, where it would end anyway."""
        wanted, limit = self._sampling.max_output_tokens, await self._engine.context_limit()
        if wanted is None or limit is None:
            return self._sampling
        return replace(self._sampling, max_output_tokens=min(wanted, limit))

    async def _explained(self, exc: ParleyError) -> ParleyError:
        """A prompt that leaves no room is refused in several words, none of which tell both numbers."""
        if not isinstance(exc, ContextLengthExceeded | EngineRefused):
            return exc
        counted = await self._count()
        if counted is not None and counted.count >= counted.limit:
            return ContextLengthExceeded(counted.count, counted.limit, param="messages")
        return ContextLengthExceeded(param="messages") if isinstance(exc, ContextLengthExceeded) else exc

    async def _count(self) -> TokenizedPrompt | None:
        try:
            return await self._engine.tokenize(
                completion.prompts(self._asked.messages), completion.form(self._asked), affinity=self._user_id
            )
        except ParleyError:
            return None
