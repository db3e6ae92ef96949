"""vLLM 0.32's whole (not streamed) bodies."""

import json
import re
from collections.abc import Sequence
from typing import Any

from engines.scripted.chat_chunks import call_id, reasoning_tokens
from engines.scripted.chunks import FINGERPRINT, Extras, Head, usage_counts
from engines.scripted.deltas import deltas
from engines.scripted.generation import Generation
from engines.scripted.template import CALL, CALL_END
from engines.scripted.tokenizer import piece


def chat_completion(head: Head, generation: Generation, extras: Extras) -> dict[str, Any]:
    message, calls, thoughts = _message(generation, extras)
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": "tool_calls" if calls and not extras.named_call else generation.finish_reason,
        "stop_reason": generation.stop_reason,
        "token_ids": list(generation.ids) if extras.token_ids else None,
        "routed_experts": None,
    }
    common = _common(head, "chat.completion", choice, generation, extras)
    if thoughts:
        common["usage"]["completion_tokens_details"] = {"reasoning_tokens": thoughts}
    return {
        **common,
        "prompt_logprobs": None,
        "prompt_token_ids": list(generation.prompt_ids) if extras.token_ids else None,
        "prompt_text": extras.prompt_text,
        **_TRAILER,
    }


def _message(generation: Generation, extras: Extras) -> tuple[dict[str, Any], bool, int]:
    """The message, whether it calls a tool, and how many of its tokens are reasoning."""
    told = deltas(generation.texts, calls=False)
    thoughts = reasoning_tokens(told)
    content: str | None = "".join(delta.content for delta in told)
    calls = _calls(content or "") if extras.calls else []
    if calls:
        content = (content or "").partition(CALL)[0]
        content = content if content.strip() else "" if extras.demanded_call else None
    message = {
        "role": "assistant",
        "content": content if content or not thoughts else None,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": calls if extras.parallel_calls else calls[:1],
        "reasoning": "".join(delta.reasoning for delta in told) if thoughts else None,
    }
    if not calls:
        del message["tool_calls"]
    return message, bool(calls), thoughts


def _calls(text: str) -> list[dict[str, Any]]:
    """All or none: where one cannot be read, vLLM takes the whole for text."""
    written = re.findall(f"{CALL}(.*?){CALL_END}|{CALL}(.*)", text, re.DOTALL)
    try:
        read = [json.loads(closed or open_) for closed, open_ in written]
        told = [{"name": one["name"], "arguments": json.dumps(one["arguments"], ensure_ascii=False)} for one in read]
    except (ValueError, KeyError, TypeError):
        return []
    return [{"id": call_id(), "type": "function", "function": function} for function in told]


def completion(head: Head, generation: Generation, extras: Extras) -> dict[str, Any]:
    choice = {
        "index": 0,
        "text": "".join(generation.texts),
        "logprobs": None,
        "finish_reason": generation.finish_reason,
        "stop_reason": generation.stop_reason,
        "token_ids": list(generation.ids) if extras.token_ids else None,
        "prompt_logprobs": None,
        "prompt_token_ids": list(generation.prompt_ids) if extras.token_ids else None,
        "routed_experts": None,
    }
    return {**_common(head, "text_completion", choice, generation, extras), **_TRAILER}


_TRAILER = {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}


def _common(head: Head, kind: str, choice: dict[str, Any], generation: Generation, extras: Extras) -> dict[str, Any]:
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
            "prompt_tokens_details": cached if extras.prompt_details else None,
            "completion_tokens_details": None,
        },
    }


def tokenized(ids: Sequence[int], context: int, *, strings: bool) -> dict[str, Any]:
    told = [piece(token).decode("latin-1") for token in ids] if strings else None
    return {"count": len(ids), "max_model_len": context, "tokens": list(ids), "token_strs": told}


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
