"""vLLM's /tokenize and /detokenize."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import msgspec
import openai

from gateway.engine.errors import TRANSPORT_ERRORS
from gateway.engine.model_catalog import QUICK_REQUEST_SECONDS, ModelCatalog
from gateway.engine.request_fields import message_fields, tool_fields
from gateway.engine.user_lock import UserLock
from gateway.inference import OutputOptions, PromptMessage, TokenizedPrompt

T = TypeVar("T")


class _Tokenized(msgspec.Struct):
    count: int
    max_model_len: int
    tokens: msgspec.Raw = msgspec.Raw(b"[]")


class _Detokenized(msgspec.Struct):
    prompt: str


# Milliseconds of the engine's tokenizer, which all users share: of one user, the longer prompts wait in line.
_LONG_CHARACTERS = 65_536

_decode_tokenized = msgspec.json.Decoder(_Tokenized).decode
_decode_ids = msgspec.json.Decoder(tuple[int, ...]).decode
_decode_detokenized = msgspec.json.Decoder(_Detokenized).decode


class Tokenizer:
    """Raises Unavailable, ContextLengthExceeded, EngineRefused or EngineFailed."""

    def __init__(self, client: openai.AsyncOpenAI, catalog: ModelCatalog) -> None:
        self._client = client
        self._catalog = catalog
        self._long_prompts = UserLock()

    async def tokenize(self, prompt: tuple[PromptMessage, ...], options: OutputOptions) -> TokenizedPrompt:
        length = sum(len(message.text) for message in prompt)
        async with self._long_prompts.hold() if length > _LONG_CHARACTERS else nullcontext():
            return await self._tokenize(prompt, options)

    async def _tokenize(self, prompt: tuple[PromptMessage, ...], options: OutputOptions) -> TokenizedPrompt:
        body: dict[str, Any] = {"model": await self._catalog.name(), "messages": await message_fields(prompt)}
        if tools := await tool_fields(options):
            body["tools"] = tools
        if (effort := options.reasoning_effort) is not None:
            # As vLLM itself passes it to the chat template.
            body["chat_template_kwargs"] = {"reasoning_effort": effort, "enable_thinking": effort != "none"}
        tokenized = await self._post("tokenize", body, _decode_tokenized)
        # The ids of a prompt that does not fit may be millions, and nobody can use them.
        ids = _decode_ids(tokenized.tokens) if tokenized.count <= tokenized.max_model_len else ()
        return TokenizedPrompt(tokenized.count, tokenized.max_model_len, ids)

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        body = {"model": await self._catalog.name(), "tokens": list(token_ids)}
        return (await self._post("detokenize", body, _decode_detokenized)).prompt

    async def _post(self, path: str, body: dict[str, Any], decode: Callable[[bytes], T]) -> T:
        root = str(self._client.base_url).removesuffix("/").removesuffix("/v1")
        try:
            reply = await self._client.post(
                f"{root}/{path}", cast_to=bytes, body=body, options={"timeout": QUICK_REQUEST_SECONDS}
            )
            return decode(reply)
        except TRANSPORT_ERRORS as exc:
            raise self._catalog.translate_error(exc) from exc
