"""A chat completion between a client and the engine, whose response is passed on byte for byte."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import msgspec

from gateway.engine.balancer import EngineBalancer
from gateway.engine.chat_completion_request import chat_completion_fields, output_options, prompt_messages
from gateway.engine.chunks import EngineUsage, parse_chunk, to_usage
from gateway.engine.errors import TRANSPORT_ERRORS, translate_error
from gateway.engine.server_sent_events import event_data, raw_events
from gateway.errors import ContextLengthExceeded, EngineRefused, ParleyError, Unavailable
from gateway.inference import EngineEvent, OutputDelta, Sampling, TokenizedPrompt, UsageReport
from gateway.protocol.chat_completions import ChatCompletion
from gateway.protocol.resources import Usage


class _Response(msgspec.Struct):
    usage: EngineUsage


_decode_response = msgspec.json.Decoder(_Response).decode


class ChatRelay:
    """One request. Cancelling it, or closing its stream, stops the engine."""

    def __init__(self, engine: EngineBalancer, request: ChatCompletion, sampling: Sampling, *, user_id: str) -> None:
        self._engine = engine
        self._request = request
        self._sampling = sampling
        self._user_id = user_id
        self._usage: Usage | None = None
        self._is_accepted = False
        self._delta_count = 0

    async def complete(self) -> bytes:
        """The body of an unstreamed response.

        Raises Unavailable, ContextLengthExceeded, EngineRefused or EngineFailed.
        """
        async with self._open() as chunks:
            body = b"".join([chunk async for chunk in chunks])
            self._usage = to_usage(_decode_response(body).usage)
            return body

    async def stream(self) -> AsyncGenerator[bytes]:
        """Whole server-sent events, without the usage if the client has not requested it.

        Raises as `complete` does, also after the first event.
        """
        async with self._open() as chunks:
            async for event in raw_events(chunks):
                data = event_data(event)
                if data == b"[DONE]":
                    yield event
                    return
                parsed = parse_chunk(data) if data else []
                self._record(parsed)
                if not self._is_unrequested_usage(parsed):
                    yield event
            raise Unavailable("vllm")  # the stream ended before its [DONE]

    async def usage(self) -> Usage | None:
        """As the engine reports it; None if the engine has not accepted the request.

        The engine reports no usage for an answer that broke off. The result is then a lower bound: the engine's own
        count of the prompt (0 where the engine cannot count), and one token for each delta that was passed on (0 for an
        unstreamed answer).
        """
        if self._usage is not None or not self._is_accepted:
            return self._usage
        tokenized = await self._tokenize()
        input_tokens = tokenized.count if tokenized else 0
        return Usage(input_tokens, self._delta_count, input_tokens + self._delta_count)

    def _record(self, events: list[EngineEvent]) -> None:
        for event in events:
            if isinstance(event, UsageReport):
                self._usage = event.usage
            elif isinstance(event, OutputDelta):
                self._delta_count += 1

    def _is_unrequested_usage(self, events: list[EngineEvent]) -> bool:
        has_only_usage = len(events) == 1 and isinstance(events[0], UsageReport)
        return has_only_usage and not self._request.include_usage

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[AsyncGenerator[bytes]]:
        fields = await chat_completion_fields(self._request, await self._limited_sampling())
        request_id = secrets.token_hex(16)
        self._is_accepted = True
        response = self._engine.relay(fields, user_id=self._user_id, request_id=request_id, affinity=self._user_id)
        try:
            async with aclosing(response) as chunks:
                yield chunks
        except (ParleyError, *TRANSPORT_ERRORS) as exc:
            self._is_accepted = self._delta_count > 0
            raise await self._add_token_counts(exc if isinstance(exc, ParleyError) else translate_error(exc)) from exc

    async def _limited_sampling(self) -> Sampling:
        """vLLM refuses an output limit that exceeds its context."""
        requested, limit = self._sampling.max_output_tokens, await self._engine.context_limit()
        if requested is None or limit is None:
            return self._sampling
        return replace(self._sampling, max_output_tokens=min(requested, limit))

    async def _add_token_counts(self, exc: ParleyError) -> ParleyError:
        """vLLM refuses a prompt that leaves no room with several messages, none of which contains both numbers."""
        if not isinstance(exc, ContextLengthExceeded | EngineRefused):
            return exc
        tokenized = await self._tokenize()
        if tokenized is not None and tokenized.count >= tokenized.limit:
            return ContextLengthExceeded(tokenized.count, tokenized.limit, param="messages")
        return ContextLengthExceeded(param="messages") if isinstance(exc, ContextLengthExceeded) else exc

    async def _tokenize(self) -> TokenizedPrompt | None:
        prompt, options = prompt_messages(self._request.messages), output_options(self._request)
        try:
            return await self._engine.tokenize(prompt, options, affinity=self._user_id)
        except ParleyError:
            return None
