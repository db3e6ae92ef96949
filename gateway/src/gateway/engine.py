"""The model server, spoken to through the openai package; its chunks are read as bytes.

Building an SDK object for every token would cost more than all the rest of the gateway together
(116-140 us against 30 us a chunk), so the body is split into lines and decoded into the few fields we use.
"""

import hashlib
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Literal

import httpx2
import msgspec
import openai

from gateway.conversation import Count, Prompt, neutralised
from gateway.errors import ContextLengthExceeded, EngineFailed, ParleyError, Unavailable
from gateway.generation import EngineEvent, Finished, PromptRead, Sampling, Tokens, Used
from gateway.protocol.resources import InputTokensDetails, Usage


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta
    finish_reason: str | None = None
    token_ids: tuple[int, ...] | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    prompt_token_ids: tuple[int, ...] | None = None
    error: Any = None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class _Counted(msgspec.Struct):
    count: int
    max_model_len: int


# A body that breaks off while it is read surfaces as the transport's own error, not as the SDK's.
_FAILURES = (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, msgspec.DecodeError)

_decode_models = msgspec.json.Decoder(_Models).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_count = msgspec.json.Decoder(_Counted).decode


class Engine:
    """`dialect` "openai" leaves out what only vLLM knows: token ids, repetition_penalty, cache_salt, /tokenize."""

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        *,
        dialect: Literal["vllm", "openai"],
        server_key: bytes,
        model: str = "",
    ) -> None:
        self._client = client
        self._vllm = dialect == "vllm"
        self._server_key = server_key
        self._model = model
        self._detected = ""

    async def close(self) -> None:
        await self._client.close()

    async def model(self) -> str:
        """The configured name, or else the first one the engine serves. Raises Unavailable or EngineFailed."""
        if self._model or self._detected:
            return self._model or self._detected
        try:
            served = _decode_models(await self._client.get("/models", cast_to=bytes)).data
        except _FAILURES as exc:
            raise self._translated(exc) from exc
        if not served:
            raise Unavailable("vllm")
        self._detected = served[0].id
        return self._detected

    async def count(self, prompts: tuple[Prompt, ...]) -> Count | None:
        """The engine's own count of the rendered prompt, in tokens; None where the engine has no way to tell."""
        if not self._vllm:
            return None
        root = str(self._client.base_url).removesuffix("/").removesuffix("/v1")
        body = {"model": await self.model(), "messages": _messages(prompts)}
        try:
            counted = _decode_count(await self._client.post(f"{root}/tokenize", cast_to=bytes, body=body))
        except _FAILURES as exc:
            raise self._translated(exc) from exc
        return Count(counted.count, counted.max_model_len)

    async def stream(
        self, prompts: tuple[Prompt, ...], sampling: Sampling, *, user_id: str, request_id: str
    ) -> AsyncGenerator[EngineEvent]:
        """Closing the iterator closes the connection, which stops the engine within milliseconds.

        Raises Unavailable, ContextLengthExceeded or EngineFailed.
        """
        try:
            async with self._client.chat.completions.with_streaming_response.create(
                model=await self.model(),
                messages=_messages(prompts),
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=openai.omit if sampling.max_output_tokens is None else sampling.max_output_tokens,
                stream=True,
                stream_options={"include_usage": True},
                extra_headers={"X-Request-Id": request_id},
                extra_body=self._extra(sampling, user_id),
            ) as response:
                async for data in _server_sent(response.iter_bytes()):
                    if data == b"[DONE]":
                        return
                    for event in _events(data):
                        yield event
        except _FAILURES as exc:
            raise self._translated(exc) from exc
        raise Unavailable("vllm")  # the stream ended before its [DONE]

    def _extra(self, sampling: Sampling, user_id: str) -> dict[str, Any]:
        if not self._vllm:
            return {}
        return {
            "repetition_penalty": sampling.repetition_penalty,
            "return_token_ids": True,
            # A prefix cache shared between users tells one what another has sent, by timing.
            "cache_salt": hmac.new(self._server_key, user_id.encode(), hashlib.sha256).hexdigest(),
        }

    def _translated(self, exc: Exception) -> ParleyError:
        if isinstance(exc, msgspec.DecodeError):
            return EngineFailed("the model server's answer is not what an OpenAI-compatible server says")
        if not isinstance(exc, openai.APIStatusError):
            return Unavailable("vllm")
        if exc.status_code == 404:
            self._detected = ""  # it may have come back with another model
            return EngineFailed(f"the model server does not know {exc.request.url.path}, or not the model asked for")
        if exc.status_code in (429, 502, 503, 504):
            return Unavailable("vllm")
        if exc.status_code == 400 and "context length" in exc.message:
            return ContextLengthExceeded()
        return EngineFailed(f"the model server answered {exc.status_code}")


def _messages(prompts: Sequence[Prompt]) -> Any:
    # `developer` would be rendered as a system turn: roles come from the server's own mapping.
    return [
        {
            "role": "system" if prompt.role in ("system", "developer") else prompt.role,
            "content": neutralised(prompt.text),
        }
        for prompt in prompts
    ]


async def _server_sent(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each server-sent event; one network read may hold many, or half of one."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def _events(data: bytes) -> list[EngineEvent]:
    chunk = _decode_chunk(data)
    if chunk.error is not None:
        raise EngineFailed("the model server failed in the middle of an answer")
    events: list[EngineEvent] = []
    if chunk.prompt_token_ids is not None:
        events.append(PromptRead(chunk.prompt_token_ids))
    for choice in chunk.choices[:1]:
        if choice.delta.content or choice.token_ids:
            events.append(Tokens(choice.delta.content or "", choice.token_ids or ()))
        if choice.finish_reason is not None:
            events.append(Finished("length" if choice.finish_reason == "length" else "stop"))
    if chunk.usage is not None:
        events.append(Used(_usage(chunk.usage)))
    return events


def _usage(used: _Usage) -> Usage:
    completion = used.completion_tokens or 0
    cached = used.prompt_tokens_details.cached_tokens if used.prompt_tokens_details else None
    return Usage(used.prompt_tokens, completion, used.prompt_tokens + completion, InputTokensDetails(cached or 0))
