"""vLLM 0.32's whole (not streamed) bodies."""

from collections.abc import Sequence
from typing import Any

from dev.scripted_engine.chunks import FINGERPRINT, Extras, Head, usage_counts
from dev.scripted_engine.generation import Generation
from dev.scripted_engine.tokenizer import piece


def chat_completion(head: Head, generation: Generation, extras: Extras) -> dict[str, Any]:
    message = {
        "role": "assistant",
        "content": "".join(generation.texts),
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "reasoning": None,
    }
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": generation.finish_reason,
        "stop_reason": generation.stop_reason,
        "token_ids": list(generation.ids) if extras.token_ids else None,
        "routed_experts": None,
    }
    return {
        **_common(head, "chat.completion", choice, generation, extras),
        "prompt_logprobs": None,
        "prompt_token_ids": list(generation.prompt_ids) if extras.token_ids else None,
        "prompt_text": extras.prompt_text,
        **_TRAILER,
    }


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
