"""What `POST /v1/chat/completions` accepts and refuses, and what of it reaches the engine.

Tests `gateway.protocol.chat_completions` and `gateway.protocol.chat_messages`.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ParleyError
from gateway.protocol.chat_completions import ChatCompletion, decode_chat_completion

TOOL = {"type": "function", "function": {"name": "look", "description": "looks", "parameters": {"type": "object"}}}


def decode(**fields: object) -> ChatCompletion:
    return decode_chat_completion(json.dumps({"messages": [{"role": "user", "content": "hi"}], **fields}).encode())


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        *(
            ({name: value}, name, "unsupported_parameter")
            for name, value in {
                "audio": {"voice": "alloy", "format": "wav"},
                "function_call": "auto",
                "functions": [{"name": "look"}],
                "logit_bias": {"50256": -100},
                "logprobs": True,
                "modalities": ["text", "audio"],
                "moderation": {"model": "m"},
                "n": 2,
                "prediction": {"type": "content", "content": "x"},
                "prompt_cache_options": {"mode": "explicit"},
                "prompt_cache_retention": "24h",
                "service_tier": "priority",
                "store": True,
                "top_logprobs": 3,
                "verbosity": "low",
                "web_search_options": {},
            }.items()
        ),
        *(
            ({name: value}, name, "unknown_parameter")
            for name, value in {
                "add_generation_prompt": False,
                "bad_words": ["x"],
                "cache_salt": "another user's",
                "chat_template": "{{ x }}",
                "chat_template_kwargs": {"enable_thinking": False},
                "continue_final_message": True,
                "echo": True,
                "extra_body": {},
                "ignore_eos": True,
                "include_reasoning": False,
                "kv_transfer_params": {},
                "min_tokens": 5,
                "priority": -1,
                "prompt_logprobs": 1,
                "request_id": "x",
                "return_token_ids": True,
                "stop_token_ids": [1],
                "structured_outputs": {"regex": "x"},
                "top_k": 5,
                "truncate_prompt_tokens": 1,
                "use_beam_search": True,
                "vllm_xargs": {},
            }.items()
        ),
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"presence_penalty": 3}, "presence_penalty", "invalid_value"),
        ({"repetition_penalty": 0}, "repetition_penalty", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_completion_tokens": True}, "max_completion_tokens", "invalid_value"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "invalid_request"),
        ({"seed": 2**63}, "seed", "invalid_value"),
        ({"stop": ""}, "stop", "invalid_value"),
        ({"stop": list("abcde")}, "stop", "invalid_value"),
        ({"stream": 1}, "stream", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_request"),
        (
            {"stream": True, "stream_options": {"continuous_usage_stats": True}},
            "stream_options.continuous_usage_stats",
            "unknown_parameter",
        ),
        (
            {"stream": True, "stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
            "unsupported_parameter",
        ),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type", "unsupported_parameter"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_request"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "listen"}}},
            "tool_choice",
            "invalid_request",
        ),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "invalid_value"),
        ({"reasoning_effort": "endless"}, "reasoning_effort", "invalid_value"),
        ({"metadata": {"key": 1}}, "metadata[...]", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "hi"}, "messages", "invalid_value"),
    ],
    ids=str,
)
def test_an_invalid_field_is_named(fields: dict[str, object], param: str, code: str) -> None:
    with pytest.raises(ParleyError) as caught:
        decode(**fields)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


@pytest.mark.parametrize(
    ("message", "param", "code"),
    [
        ({"role": "robot", "content": "x"}, "messages[0].role", "invalid_value"),
        ({"role": "function", "name": "look", "content": "x"}, "messages[0].role", "invalid_value"),
        ({"content": "x"}, "messages[0].role", "invalid_value"),
        ({"role": "user"}, "messages[0].content", "invalid_value"),
        ({"role": "user", "content": None}, "messages[0].content", "invalid_value"),
        ({"role": "user", "content": "x", "cache": 1}, "messages[0].cache", "unknown_parameter"),
        ({"role": "user", "content": "x", "name": "a\nb"}, "messages[0].name", "invalid_value"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id", "invalid_value"),
        ({"role": "assistant", "content": "x", "audio": {"id": "a"}}, "messages[0].audio", "invalid_value"),
        *(
            ({"role": "user", "content": [{"type": kind, kind: {}}]}, "messages[0].content[0]", "unsupported_content")
            for kind in ("image_url", "input_audio", "file")
        ),
        (
            {"role": "assistant", "content": [{"type": "text", "text": "no"}, {"type": "refusal", "refusal": "no"}]},
            "messages[0].content[1]",
            "unsupported_content",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "1", "type": "custom", "custom": {}}]},
            "messages[0].tool_calls[0].type",
            "unsupported_parameter",
        ),
    ],
    ids=str,
)
def test_an_invalid_message_is_named(message: dict[str, object], param: str, code: str) -> None:
    with pytest.raises(ParleyError) as caught:
        decode(messages=[message])
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"n":NaN}', b'{"n":1,"n":1}', b"\xff", b"[" * 10_000])
def test_a_body_that_is_no_json_object_is_reported_as_such(body: bytes) -> None:
    with pytest.raises(ParleyError) as caught:
        decode_chat_completion(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_names = st.sampled_from([*ChatCompletion.__struct_fields__, "n", "logprobs", "functions", "logit_bias"]) | st.text()


_message = _json | st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "name"]), _json)


def status(**fields: object) -> int:
    try:
        decode(**fields)
    except ParleyError as refused:
        return refused.status
    return 200


@given(fields=st.dictionaries(_names, _json, max_size=4))
def test_any_body_is_decoded_or_a_client_error(fields: dict[str, object]) -> None:
    assert status(**fields) in (200, 400)


@given(message=_message)
def test_any_message_is_decoded_or_a_client_error(message: object) -> None:
    assert status(messages=[message]) in (200, 400)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_both_names_of_the_output_limit_are_accepted(name: str) -> None:
    assert decode(**{name: 7}).max_output_tokens == 7
