"""What may go wrong while the engine is asked, as one of our errors."""

import httpx2
import msgspec
import openai

from gateway.errors import ContextLengthExceeded, EngineCrashed, EngineFailed, EngineRefused, ParleyError, Unavailable

# A body that breaks off while it is read surfaces as the transport's own error, not as the SDK's.
TRANSPORT_ERRORS = (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, msgspec.DecodeError)


def translated(exc: Exception) -> ParleyError:
    if isinstance(exc, msgspec.DecodeError):
        return EngineFailed("the model server's answer is not what an OpenAI-compatible server says")
    if not isinstance(exc, openai.APIStatusError):
        return Unavailable("vllm")
    if exc.status_code == 404:
        return EngineFailed(f"the model server does not know {exc.request.url.path}, or not the model asked for")
    if exc.status_code in (429, 502, 503, 504):
        return Unavailable("vllm")
    if exc.status_code == 400:
        return ContextLengthExceeded() if "context length" in exc.message else EngineRefused(exc.message)
    broke = EngineCrashed if exc.status_code >= 500 else EngineFailed
    return broke(f"the model server answered {exc.status_code}")
