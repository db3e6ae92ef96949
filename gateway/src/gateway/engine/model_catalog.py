"""The models that an engine lists, and the errors after which the list must be read again."""

import msgspec
import openai

from gateway.engine.errors import TRANSPORT_ERRORS, translate_error
from gateway.errors import ContextLengthExceeded, ParleyError, Unavailable
from gateway.inference import ServedModel

# Requests that need no GPU take milliseconds.
QUICK_REQUEST_SECONDS = 10.0


class _Models(msgspec.Struct):
    data: list[ServedModel]


_decode_models = msgspec.json.Decoder(_Models).decode


class ModelCatalog:
    """`configured_model`: empty for the first model that the engine lists."""

    def __init__(self, client: openai.AsyncOpenAI, configured_model: str, *, must_be_listed: bool) -> None:
        self._client = client
        self._configured_model = configured_model
        self._must_be_listed = must_be_listed
        self._served: ServedModel | None = None

    async def name(self) -> str:
        """Raises Unavailable or EngineFailed."""
        return self._configured_model or (await self.served_model()).id

    async def served_model(self) -> ServedModel:
        """Cached. Raises Unavailable or EngineFailed."""
        if self._served is None:
            self._served = await self._fetch()
        return self._served

    async def refresh(self) -> ServedModel:
        """Raises Unavailable or EngineFailed while the engine does not serve the model."""
        try:
            self._served = await self._fetch()
        except ParleyError:
            self._served = None
            raise
        return self._served

    def translate_error(self, exc: Exception) -> ParleyError:
        """Invalidates the cache when the engine seems to have restarted with another model or another context."""
        error = translate_error(exc)
        if isinstance(exc, openai.NotFoundError) or isinstance(error, ContextLengthExceeded):
            self._served = None
        return error

    async def _fetch(self) -> ServedModel:
        try:
            body = await self._client.get("/models", cast_to=bytes, options={"timeout": QUICK_REQUEST_SECONDS})
            listed = _decode_models(body).data
        except TRANSPORT_ERRORS as exc:
            raise self.translate_error(exc) from exc
        usable = [model for model in listed if not self._configured_model or model.id == self._configured_model]
        if self._configured_model and not self._must_be_listed:
            usable.append(ServedModel(self._configured_model))  # some servers accept names that they do not list
        if not usable:
            raise Unavailable("vllm")
        return usable[0]
