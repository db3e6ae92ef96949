"""Failures of a request to the engine, as errors of gateway.errors."""

import httpx2
import msgspec
import openai

from gateway.errors import ContextLengthExceeded, EngineCrashed, EngineFailed, EngineRefused, ParleyError, Unavailable

# A body that breaks off while it is read raises the transport's own error, not the SDK's.
TRANSPORT_ERRORS = (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, msgspec.DecodeError)


def translate_error(exc: Exception) -> ParleyError:
    if isinstance(exc, msgspec.DecodeError):
        return EngineFailed("the model server's reply does not follow the OpenAI API")
    if not isinstance(exc, openai.APIStatusError):
        return Unavailable("vllm")
    if exc.status_code == 404:
        return EngineFailed(f"the model server has no {exc.request.url.path}, or does not serve the requested model")
    if exc.status_code in (429, 502, 503, 504):
        return Unavailable("vllm")
    if exc.status_code == 400:
        return ContextLengthExceeded() if "context length" in exc.message else EngineRefused(exc.message)
    error = EngineCrashed if exc.status_code >= 500 else EngineFailed
    return error(f"the model server returned status {exc.status_code}")
