"""The client of the model server. Its errors are ours by the time they leave here."""

import hashlib
import hmac
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar

import msgspec
import openai

from gateway.engine.chunks import engine_events, server_sent
from gateway.engine.errors import TRANSPORT_ERRORS, translated
from gateway.engine.request_fields import messages, request, sampled, tools
from gateway.errors import ContextLengthExceeded, ParleyError, Unavailable
from gateway.inference import EngineCall, EngineEvent, OutputOptions, PromptMessage, ServedModel, TokenizedPrompt

T = TypeVar("T")


class _Models(msgspec.Struct):
    data: list[ServedModel]


class _Counted(msgspec.Struct):
    count: int
    max_model_len: int
    tokens: tuple[int, ...] = ()


class _Text(msgspec.Struct):
    prompt: str


_ONLY_VLLM = frozenset({"repetition_penalty", "return_token_ids"})
# As long as nginx waits.
_SILENT_SECONDS = 900.0
# What needs no GPU takes milliseconds.
_PROMPT_SECONDS = 10.0

_decode_models = msgspec.json.Decoder(_Models).decode
_decode_count = msgspec.json.Decoder(_Counted).decode
_decode_text = msgspec.json.Decoder(_Text).decode


class EngineClient:
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
        self._served: ServedModel | None = None

    async def close(self) -> None:
        await self._client.close()

    async def model(self) -> str:
        """The configured name, or else the first one the engine serves. Raises Unavailable or EngineFailed."""
        return self._model or (await self.served()).id

    async def context_limit(self) -> int | None:
        """In tokens; None where the engine does not report it."""
        return (await self.served()).max_model_len if self._vllm else None

    async def served(self) -> ServedModel:
        """Raises Unavailable or EngineFailed."""
        if self._served is None:
            self._served = await self._listed()
        return self._served

    async def tokenize(self, prompt: tuple[PromptMessage, ...], options: OutputOptions) -> TokenizedPrompt | None:
        """The rendered prompt as the model reads it; None where the engine cannot tell."""
        if not self._vllm:
            return None
        body: dict[str, Any] = {"model": await self.model(), "messages": messages(prompt)}
        if offered := tools(options):
            body["tools"] = offered
        if (effort := options.reasoning_effort) is not None:
            # As vLLM itself passes it to the chat template.
            body["chat_template_kwargs"] = {"reasoning_effort": effort, "enable_thinking": effort != "none"}
        counted = await self._ask("tokenize", body, _decode_count)
        return TokenizedPrompt(counted.count, counted.max_model_len, counted.tokens)

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        """What so many ids say; U+FFFD where they end inside a character."""
        body = {"model": await self.model(), "tokens": list(token_ids)}
        return (await self._ask("detokenize", body, _decode_text)).prompt

    async def probe(self) -> ServedModel:
        """Raises Unavailable or EngineFailed while the engine serves nothing."""
        try:
            self._served = await self._listed()
        except ParleyError:
            self._served = None
            raise
        return self._served

    async def stream(self, call: EngineCall) -> AsyncGenerator[EngineEvent]:
        """Closing the iterator closes the connection, which stops the engine within milliseconds.

        Raises Unavailable, ContextLengthExceeded, EngineRefused or EngineFailed.
        """
        async with self._continued(call) if call.token_ids else self._answered(call) as answer:
            async for data in server_sent(answer.iter_bytes()):
                if data == b"[DONE]":
                    return
                for event in engine_events(data):
                    yield event
            raise Unavailable("vllm")  # the stream ended before its [DONE]

    @asynccontextmanager
    async def _answered(self, call: EngineCall) -> AsyncGenerator[openai.AsyncAPIResponse[Any]]:
        fields = request(call.prompt, call.sampling, call.options)
        fields |= {"stream": True, "stream_options": {"include_usage": True}, "return_token_ids": True}
        async with self.opened(fields, user_id=call.user_id, request_id=call.request_id) as answer:
            yield answer

    @asynccontextmanager
    async def _continued(self, call: EngineCall) -> AsyncGenerator[openai.AsyncAPIResponse[Any]]:
        body = sampled(call.sampling) | {"return_token_ids": True, "cache_salt": self._salt(call.user_id)}
        try:
            async with self._client.completions.with_streaming_response.create(
                model=await self.model(),
                prompt=list(call.token_ids),
                stream=True,
                stream_options={"include_usage": True},
                extra_headers={"X-Request-Id": call.request_id},
                extra_body=body,
            ) as answer:
                yield answer
        except TRANSPORT_ERRORS as exc:
            raise self._translated(exc) from exc

    @asynccontextmanager
    async def opened(
        self, fields: dict[str, Any], *, user_id: str, request_id: str
    ) -> AsyncGenerator[openai.AsyncAPIResponse[Any]]:
        """The engine's answer to a request of gateway.engine.request_fields, as bytes. Leaving closes the connection.

        Raises Unavailable, ContextLengthExceeded, EngineRefused or EngineFailed, also for what fails inside.
        """
        rest = {name: value for name, value in fields.items() if self._vllm or name not in _ONLY_VLLM}
        if self._vllm:
            rest["cache_salt"] = self._salt(user_id)
        try:
            async with self._client.chat.completions.with_streaming_response.create(
                model=await self.model(),
                messages=rest.pop("messages"),
                extra_headers={"X-Request-Id": request_id},
                extra_body=rest,
                timeout=openai.NOT_GIVEN if rest.get("stream") else self._silent(),
            ) as answer:
                yield answer
        except TRANSPORT_ERRORS as exc:
            raise self._translated(exc) from exc

    async def relayed(self, fields: dict[str, Any], *, user_id: str, request_id: str) -> AsyncGenerator[bytes]:
        """The body of what `opened` answers, as it comes."""
        async with self.opened(fields, user_id=user_id, request_id=request_id) as answer:
            async for chunk in answer.iter_bytes():
                yield chunk

    async def _listed(self) -> ServedModel:
        try:
            told = await self._client.get("/models", cast_to=bytes, options={"timeout": _PROMPT_SECONDS})
            served = _decode_models(told).data
        except TRANSPORT_ERRORS as exc:
            raise self._translated(exc) from exc
        found = [one for one in served if not self._model or one.id == self._model]
        if self._model and not self._vllm:
            found.append(ServedModel(self._model))  # some servers know names that they do not list
        if not found:
            raise Unavailable("vllm")
        return found[0]

    def _salt(self, user_id: str) -> str:
        """A prefix cache shared between users tells one what another has sent, by timing."""
        return hmac.new(self._server_key, user_id.encode(), hashlib.sha256).hexdigest()

    async def _ask(self, path: str, body: dict[str, Any], decode: Callable[[bytes], T]) -> T:
        root = str(self._client.base_url).removesuffix("/").removesuffix("/v1")
        try:
            answer = await self._client.post(
                f"{root}/{path}", cast_to=bytes, body=body, options={"timeout": _PROMPT_SECONDS}
            )
            return decode(answer)
        except TRANSPORT_ERRORS as exc:
            raise self._translated(exc) from exc

    def _silent(self) -> openai.Timeout:
        """What is not streamed comes at the very end."""
        usual = self._client.timeout
        if not isinstance(usual, openai.Timeout):
            return openai.Timeout(_SILENT_SECONDS)
        return openai.Timeout(connect=usual.connect, read=_SILENT_SECONDS, write=usual.write, pool=usual.pool)

    def _translated(self, exc: Exception) -> ParleyError:
        error = translated(exc)
        if isinstance(exc, openai.NotFoundError) or isinstance(error, ContextLengthExceeded):
            self._served = None  # it may have come back with another model, or another context
        return error
