"""Values that vLLM 0.32 refuses, with its messages (`SamplingParams`, `TokenizeParams`)."""

import math
from collections.abc import Sequence

from engines.scripted.errors import BadRequest, Unsupported
from engines.scripted.requests import ChatRequest, CompletionRequest, GenerationRequest
from engines.scripted.tokenizer import LONGEST_TOKEN_CHARACTERS, VOCABULARY_SIZE


def check_text_length(text: str, context: int) -> None:
    longest = context * LONGEST_TOKEN_CHARACTERS
    if len(text) > longest:
        raise BadRequest(
            f"This model's maximum context length is {context} tokens. However, your prompt contains "
            f"{len(text)} characters (more than {longest} characters, which is the upper bound for {context} "
            "input tokens). Please reduce the length of the input prompt.",
            param="input_text",
            value=len(text),
        )


def check_prompt_length(ids: Sequence[int], context: int, *, from_text: bool) -> None:
    if len(ids) <= context:
        return
    # vLLM stops tokenizing a text one token past the limit.
    count = context + 1 if from_text else len(ids)
    raise BadRequest(
        f"This model's maximum context length is {context} tokens. However, your prompt contains "
        f"{'at least ' if count == context + 1 else ''}{count} input tokens, which exceeds this limit even "
        "without any output tokens. Please reduce the length of the input prompt.",
        param="input_tokens",
        value=count,
    )


def check_vocabulary(ids: Sequence[int]) -> None:
    if ids and (largest := max(ids)) >= VOCABULARY_SIZE:
        raise BadRequest(f"Token id {largest} is out of vocabulary")


def requested_tokens(request: ChatRequest | CompletionRequest, context: int) -> int | None:
    name, requested = "max_tokens", request.max_tokens
    if isinstance(request, ChatRequest) and request.max_completion_tokens is not None:
        name, requested = "max_completion_tokens", request.max_completion_tokens
    if isinstance(request, CompletionRequest) and requested is None:
        requested = 16
    if requested is not None and requested > context:
        raise BadRequest(
            f"{name}={requested} cannot be greater than max_model_len={context}. Please request fewer output tokens.",
            param=name,
            value=requested,
        )
    return requested


def output_budget(requested: int | None, prompt_tokens: int, context: int) -> int:
    """How many tokens may be generated: the requested number, limited by the rest of the context."""
    remaining = context - prompt_tokens
    allowed = remaining if requested is None else min(requested, remaining)
    if allowed < 1:
        message = f"max_tokens must be at least 1, got {allowed}."
        raise BadRequest(message, param="max_tokens", value=allowed)
    return allowed


def check_sampling(request: GenerationRequest, max_tokens: int) -> None:
    if request.n is not None and request.n < 1:
        raise BadRequest(f"n must be at least 1, got {request.n}.")
    _check_penalties(request)
    _check_temperature(request.temperature)
    if (top_p := request.top_p) is not None and not 0 < top_p <= 1:
        raise BadRequest(f"top_p must be in (0, 1], got {top_p}.", param="top_p", value=top_p)
    if (top_k := request.top_k) is not None and top_k < -1:
        raise BadRequest(f"top_k must be 0 (disable), or at least 1, got {top_k}.")
    if (min_p := request.min_p) is not None and not 0 <= min_p <= 1:
        raise BadRequest(f"min_p must be in [0, 1], got {min_p}.")
    if request.min_tokens > max_tokens:
        wanted = f"less than or equal to max_tokens={max_tokens}"
        raise BadRequest(f"min_tokens must be {wanted}, got {request.min_tokens}.")
    if "" in request.stops:
        raise BadRequest("stop cannot contain an empty string.")


def check_supported(request: ChatRequest | CompletionRequest) -> None:
    """Refuses what vLLM supports and this engine does not; the gateway sends none of it."""
    used = {"n > 1": (request.n or 1) > 1, "echo": request.echo, "logprobs": request.logprobs not in (None, False)}
    if isinstance(request, ChatRequest):
        used["include_reasoning=false"] = not request.include_reasoning
    if isinstance(request, CompletionRequest) and isinstance(request.prompt, list):
        used["a list of prompts"] = any(not isinstance(token, int) for token in request.prompt)
    if unsupported := ", ".join(name for name, value in used.items() if value):
        raise Unsupported(f"The scripted engine does not support: {unsupported}.")


def _check_penalties(request: GenerationRequest) -> None:
    for name in ("presence_penalty", "frequency_penalty"):
        value = getattr(request, name)
        if value is not None and not -2 <= value <= 2:
            raise BadRequest(f"{name} must be in [-2, 2], got {value}.")
    if (value := request.repetition_penalty) is not None and not value > 0:
        raise BadRequest(f"repetition_penalty must be greater than zero, got {value}.")


def _check_temperature(value: float | None) -> None:
    if value is None or 0 <= value <= 2:
        return
    wanted = "a finite number" if not math.isfinite(value) else "non-negative" if value < 0 else "in [0, 2]"
    raise BadRequest(f"temperature must be {wanted}, got {value}.", param="temperature", value=value)
