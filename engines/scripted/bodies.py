"""vLLM 0.32's response bodies without streaming."""

import json
import re
from collections.abc import Sequence
from typing import Any

from engines.scripted.chat_chunks import call_id, reasoning_tokens
from engines.scripted.chunks import FINGERPRINT, ResponseHead, ResponseOptions, usage_counts
from engines.scripted.deltas import deltas
from engines.scripted.generation import Generation
from engines.scripted.template import CALL, CALL_END
from engines.scripted.tokenizer import piece


def chat_completion(head: ResponseHead, generation: Generation, options: ResponseOptions) -> dict[str, Any]:
    message, calls, reasoning = _message(generation, options)
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": "tool_calls" if calls and not options.named_call else generation.finish_reason,
        "stop_reason": generation.stop_reason,
        "token_ids": list(generation.ids) if options.token_ids else None,
        "routed_experts": None,
    }
    common = _common(head, "chat.completion", choice, generation, options)
    if reasoning:
        common["usage"]["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return {
        **common,
        "prompt_logprobs": None,
        "prompt_token_ids": list(generation.prompt_ids) if options.token_ids else None,
        "prompt_text": options.prompt_text,
        **_TRAILER,
    }


def _message(generation: Generation, options: ResponseOptions) -> tuple[dict[str, Any], bool, int]:
    """The message, whether it calls a tool, and how many of its tokens are reasoning."""
    parsed = deltas(generation.texts, calls=False)
    reasoning = reasoning_tokens(parsed)
    content: str | None = "".join(delta.content for delta in parsed)
    calls = _calls(content or "") if options.calls else []
    if calls:
        content = (content or "").partition(CALL)[0]
        content = content if content.strip() else "" if options.forced_call else None
    message = {
        "role": "assistant",
        "content": content if content or not reasoning else None,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": calls if options.parallel_calls else calls[:1],
        "reasoning": "".join(delta.reasoning for delta in parsed) if reasoning else None,
    }
    if not calls:
        del message["tool_calls"]
    return message, bool(calls), reasoning


def _calls(text: str) -> list[dict[str, Any]]:
    """All or none: if one cannot be parsed, vLLM treats everything as text."""
    found = re.findall(f"{CALL}(.*?){CALL_END}|{CALL}(.*)", text, re.DOTALL)
    try:
        calls = [json.loads(closed or open_) for closed, open_ in found]
        functions = [
            {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)} for call in calls
        ]
    except (ValueError, KeyError, TypeError):
        return []
    return [{"id": call_id(), "type": "function", "function": function} for function in functions]


def completion(head: ResponseHead, generation: Generation, options: ResponseOptions) -> dict[str, Any]:
    choice = {
        "index": 0,
        "text": "".join(generation.texts),
        "logprobs": None,
        "finish_reason": generation.finish_reason,
        "stop_reason": generation.stop_reason,
        "token_ids": list(generation.ids) if options.token_ids else None,
        "prompt_logprobs": None,
        "prompt_token_ids": list(generation.prompt_ids) if options.token_ids else None,
        "routed_experts": None,
    }
    return {**_common(head, "text_completion", choice, generation, options), **_TRAILER}


_TRAILER = {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}


def _common(
    head: ResponseHead, kind: str, choice: dict[str, Any], generation: Generation, options: ResponseOptions
) -> dict[str, Any]:
    cached = {"cached_tokens": 0, "created_cache_tokens": None, "multimodal_tokens": None}
    if kind == "chat.completion":
        cached["created_cache_tokens"] = 0
    usage = usage_counts(len(generation.prompt_ids), len(generation.ids))
    return {
        "id": head.id,
        "object": kind,
        "created": head.created,
        "model": head.model,
        "choices": [choice],
        "service_tier": None,
        "system_fingerprint": FINGERPRINT,
        "usage": {
            **usage,
            "prompt_tokens_details": cached if options.prompt_details else None,
            "completion_tokens_details": None,
        },
    }


def tokenized(ids: Sequence[int], context: int, *, strings: bool) -> dict[str, Any]:
    token_strings = [piece(token).decode("latin-1") for token in ids] if strings else None
    return {"count": len(ids), "max_model_len": context, "tokens": list(ids), "token_strs": token_strings}


def model_list(model: str, context: int, created: int) -> dict[str, Any]:
    permission = {
        "id": f"modelperm-{created:016x}",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    card = {
        "id": model,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": model,
        "parent": None,
        "max_model_len": context,
        "permission": [permission],
    }
    return {"object": "list", "data": [card]}
