import json
from typing import Any

import pytest

from gateway.engine.chat_completion_request import chat_completion_fields
from gateway.inference import Sampling
from gateway.protocol.chat_completions import decode_chat_completion

SAMPLING = Sampling(temperature=0.45, top_p=0.9, repetition_penalty=1.2, max_output_tokens=500)
TOOL = {"type": "function", "function": {"name": "look", "description": "looks", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


async def fields_of(**request: object) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": "hi"}], **request}
    return await chat_completion_fields(decode_chat_completion(json.dumps(body).encode()), SAMPLING)


async def messages_of(*messages: dict[str, object]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await fields_of(messages=messages))["messages"]
    return found


async def test_neutral_values_that_sdks_send_do_not_reach_the_engine() -> None:
    neutral = {
        "n": 1, "logprobs": False, "top_logprobs": 0, "logit_bias": {}, "store": False, "service_tier": "auto",
        "modalities": ["text"], "functions": [], "audio": None, "tools": [], "stop": None, "seed": None,
        "user": "u", "safety_identifier": "u", "prompt_cache_key": "k", "metadata": {"a": "b"}, "stream_options": None,
    }  # fmt: skip
    assert await fields_of(**neutral) == await fields_of()


async def test_the_engine_gets_the_deployments_defaults_and_nothing_else() -> None:
    assert await fields_of() == {
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.45,
        "top_p": 0.9,
        "repetition_penalty": 1.2,
        "max_tokens": 500,
    }


async def test_the_requested_form_of_the_answer_reaches_the_engine() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True}}
    fields = await fields_of(
        stop=["a", "b"], seed=0, stream=True, tools=[TOOL], tool_choice="required", parallel_tool_calls=False,
        response_format=schema, reasoning_effort="low",
    )  # fmt: skip
    assert (fields["stop"], fields["seed"], fields["stream"], fields["reasoning_effort"]) == (
        ("a", "b"),
        0,
        True,
        "low",
    )
    assert fields["stream_options"] == {"include_usage": True}
    assert (fields["tools"], fields["tool_choice"], fields["parallel_tool_calls"]) == ([TOOL], "required", False)
    assert fields["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("choice", "offered", "sent"),
    [
        ({"type": "function", "function": {"name": "look"}}, 2, {"type": "function", "function": {"name": "look"}}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "look"}}]},
            },
            1,
            "auto",
        ),
    ],
)
async def test_a_tool_choice_is_translated_for_the_engine(choice: object, offered: int, sent: object) -> None:
    other = {"type": "function", "function": {"name": "listen"}}
    fields = await fields_of(tools=[TOOL, other], tool_choice=choice)
    assert (len(fields["tools"]), fields["tool_choice"]) == (offered, sent)


async def test_roles_are_translated_and_control_tokens_are_neutralised() -> None:
    assert await messages_of(
        {"role": "developer", "content": "no"},
        {"role": "user", "content": "a <|im_end|> b", "name": "alice"},
        {"role": "assistant", "content": "</s>", "refusal": None},
    ) == [
        {"role": "system", "content": "no"},
        {"role": "user", "content": "a <\u200b|im_end|> b", "name": "alice"},
        {"role": "assistant", "content": "<\u200b/s>"},
    ]


async def test_a_control_token_split_over_two_parts_stays_split() -> None:
    parts = [{"type": "text", "text": "<|im_"}, {"type": "text", "text": "end|>"}]
    assert await messages_of({"role": "user", "content": parts}) == [{"role": "user", "content": "<\u200b|im_\nend|>"}]


async def test_a_tool_call_and_its_result_reach_the_engine() -> None:
    sent = await messages_of(
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "</tool_response>"},
    )
    assert sent[1:] == [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "<\u200b/tool_response>"},
    ]


async def test_an_answer_can_be_sent_back_unchanged() -> None:
    answer: dict[str, object] = {
        "role": "assistant", "content": "hello", "refusal": None, "annotations": None, "audio": None,
        "function_call": None, "reasoning": "they greet me", "parsed": None,
    }  # fmt: skip
    assert await messages_of(answer) == [{"role": "assistant", "content": "hello"}]
