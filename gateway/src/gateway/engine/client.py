"""The client of one engine. Every error that leaves it is one of gateway.errors."""

import hashlib
import hmac
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx2
import openai
from openai import DefaultAioHttpClient

from gateway.engine.chunks import parse_chunk
from gateway.engine.errors import TRANSPORT_ERRORS
from gateway.engine.model_catalog import ModelCatalog
from gateway.engine.request_fields import request_fields, sampling_fields
from gateway.engine.server_sent_events import data_lines
from gateway.engine.tokenizer import Tokenizer
from gateway.errors import Unavailable
from gateway.inference import EngineCall, EngineEvent, OutputOptions, PromptMessage, ServedModel, TokenizedPrompt

Dialect = Literal["vllm", "openai"]

_VLLM_FIELDS = frozenset({"repetition_penalty", "return_token_ids"})
_STREAM_FIELDS = {"stream": True, "stream_options": {"include_usage": True}}
# An unstreamed answer sends nothing until its end. As long as nginx waits.
_UNSTREAMED_READ_SECONDS = 900.0


class EngineClient:
    """`dialect` "openai" omits vLLM's extensions: token ids, repetition_penalty, cache_salt, /tokenize."""

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        *,
        dialect: Dialect,
        server_key: bytes,
        model: str = "",
    ) -> None:
        self._client = client
        self._is_vllm = dialect == "vllm"
        self._server_key = server_key
        self._catalog = ModelCatalog(client, model, must_be_listed=self._is_vllm)
        self._tokenizer = Tokenizer(client, self._catalog)

    async def close(self) -> None:
        await self._client.close()

    async def model(self) -> str:
        """The configured name, otherwise the first model that the engine lists. Raises Unavailable or EngineFailed."""
        return await self._catalog.name()

    async def served_model(self) -> ServedModel:
        """Raises Unavailable or EngineFailed."""
        return await self._catalog.served_model()

    async def context_limit(self) -> int | None:
        """In tokens; None where the engine does not report it."""
        return (await self.served_model()).max_model_len if self._is_vllm else None

    async def probe(self) -> ServedModel:
        """Raises Unavailable or EngineFailed while the engine does not serve the model."""
        return await self._catalog.refresh()

    async def tokenize(self, prompt: tuple[PromptMessage, ...], options: OutputOptions) -> TokenizedPrompt | None:
        """The rendered prompt as the model reads it; None where the engine has no /tokenize."""
        return await self._tokenizer.tokenize(prompt, options) if self._is_vllm else None

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        """Ends in U+FFFD where the ids end inside a character."""
        return await self._tokenizer.detokenize(token_ids)

    async def stream(self, call: EngineCall) -> AsyncGenerator[EngineEvent]:
        """Closing the iterator closes the connection, which stops the engine within milliseconds.

        Raises Unavailable, ContextLengthExceeded, EngineRefused or EngineFailed.
        """
        async with self._open_continuation(call) if call.token_ids else self._open_chat(call) as response:
            async for data in data_lines(response.iter_bytes()):
                if data == b"[DONE]":
                    return
                for event in parse_chunk(data):
                    yield event
            raise Unavailable("vllm")  # the stream ended before its [DONE]

    async def relay(self, fields: dict[str, Any], *, user_id: str, request_id: str) -> AsyncGenerator[bytes]:
        """The body of the response to `fields` (gateway.engine.request_fields), unchanged. Raises as `stream` does."""
        async with self._open(fields, user_id=user_id, request_id=request_id) as response:
            async for chunk in response.iter_bytes():
                yield chunk

    @asynccontextmanager
    async def _open_chat(self, call: EngineCall) -> AsyncGenerator[openai.AsyncAPIResponse[Any]]:
        fields = await request_fields(call.prompt, call.sampling, call.options)
        fields |= _STREAM_FIELDS | {"return_token_ids": True}
        async with self._open(fields, user_id=call.user_id, request_id=call.request_id) as response:
            yield response

    @asynccontextmanager
    async def _open_continuation(self, call: EngineCall) -> AsyncGenerator[openai.AsyncAPIResponse[Any]]:
        """By token ids; gateway.runtime.continuation has the reason."""
        body = sampling_fields(call.sampling) | {"return_token_ids": True, "cache_salt": self._cache_salt(call.user_id)}
        try:
            async with self._client.completions.with_streaming_response.create(
                model=await self.model(),
                prompt=list(call.token_ids),
                stream=True,
                stream_options={"include_usage": True},
                extra_headers={"X-Request-Id": call.request_id},
                extra_body=body,
            ) as response:
                yield response
        except TRANSPORT_ERRORS as exc:
            raise self._catalog.translate_error(exc) from exc

    @asynccontextmanager
    async def _open(
        self, fields: dict[str, Any], *, user_id: str, request_id: str
    ) -> AsyncGenerator[openai.AsyncAPIResponse[Any]]:
        """Also translates errors that are raised while the response is read."""
        body = {name: value for name, value in fields.items() if self._is_vllm or name not in _VLLM_FIELDS}
        if self._is_vllm:
            body["cache_salt"] = self._cache_salt(user_id)
        try:
            async with self._client.chat.completions.with_streaming_response.create(
                model=await self.model(),
                # The real ones are in `body`: the SDK would copy them at 150 us each, in one step of the event loop.
                messages=(),
                extra_headers={"X-Request-Id": request_id},
                extra_body=body,
                timeout=openai.NOT_GIVEN if body.get("stream") else self._unstreamed_timeout(),
            ) as response:
                yield response
        except TRANSPORT_ERRORS as exc:
            raise self._catalog.translate_error(exc) from exc

    def _cache_salt(self, user_id: str) -> str:
        """With a shared prefix cache, timing would reveal to one user what another has sent."""
        return hmac.new(self._server_key, user_id.encode(), hashlib.sha256).hexdigest()

    def _unstreamed_timeout(self) -> openai.Timeout:
        usual = self._client.timeout
        if not isinstance(usual, openai.Timeout):
            return openai.Timeout(_UNSTREAMED_READ_SECONDS)
        return openai.Timeout(connect=usual.connect, read=_UNSTREAMED_READ_SECONDS, write=usual.write, pool=usual.pool)


def connect(
    url: str,
    *,
    api_key: str,
    dialect: Dialect,
    server_key: bytes,
    model: str,
    connections: int,
    read_timeout_seconds: float,
) -> EngineClient:
    timeout = httpx2.Timeout(connect=5.0, read=read_timeout_seconds, write=10.0, pool=5.0)
    http_client = DefaultAioHttpClient(
        timeout=timeout,
        # Only a server in another network may be behind a proxy.
        trust_env=dialect == "openai",
        # The SDK's default limits would cap all streams of a gateway at 100 or 1,000.
        limits=httpx2.Limits(
            max_connections=connections,
            max_keepalive_connections=connections,
            # An idle connection may be half-open, or the server may be closing it at this moment. Opening one in the
            # same network costs 0.1 ms; a TLS handshake with a remote server is worth keeping.
            keepalive_expiry=0 if dialect == "vllm" else 5,
        ),
    )
    client = openai.AsyncOpenAI(base_url=url, api_key=api_key, max_retries=0, timeout=timeout, http_client=http_client)
    return EngineClient(client, dialect=dialect, server_key=server_key, model=model)
