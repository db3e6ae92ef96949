"""Chat completions, models and usage as stock OpenAI clients use them, through nginx.

Tests `gateway.routes.chat_completions`, `gateway.routes.models` with `gateway.protocol.models`, and
`gateway.routes.usage` with `gateway.protocol.usage`.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests.stack.accounts import create_accounts
from tests.stack.conftest import PASSWORD, Deployment

MODEL = "parley-demo"
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


def user_message(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def dora(deployment: Deployment) -> str:
    """The key of a user that no other test uses."""
    return create_accounts(deployment.stack, {"dora": PASSWORD}, keys=["dora"])[0]


async def usage(deployment: Deployment, key: str) -> tuple[int, int, int]:
    """Today's requests, input tokens and output tokens."""
    async with deployment.client(key) as client:
        answer = await client.get("/usage", cast_to=httpx2.Response, options={"params": {"days": 2}})
    today = answer.json()["data"][0]
    return today["requests"], today["input_tokens"], today["output_tokens"]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def test_the_synchronous_client_gets_a_whole_answer_and_a_stream(deployment: Deployment) -> None:
    with OpenAI(base_url=f"{deployment.stack.url}/v1", api_key=deployment.alice, max_retries=0) as client:
        whole = client.chat.completions.create(model=MODEL, messages=user_message("[[text=很久以前，有一座灯塔]]"))
        assert whole.choices[0].message.content == "很久以前，有一座灯塔"
        assert whole.usage is not None
        stream = client.chat.completions.create(
            model=MODEL, messages=user_message("[[text=很久以前，有一座灯塔]]"), stream=True
        )
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "很久以前，有一座灯塔"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


async def test_the_asynchronous_client_gets_the_usage_on_request(deployment: Deployment) -> None:
    async with deployment.client(deployment.alice) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=user_message("hello"), stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        whole = await client.chat.completions.create(model=MODEL, messages=user_message("hello"))
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_the_helpers_of_the_client_understand_a_stream(deployment: Deployment) -> None:
    with (
        OpenAI(base_url=f"{deployment.stack.url}/v1", api_key=deployment.alice, max_retries=0) as client,
        client.chat.completions.stream(model=MODEL, messages=user_message("[[text=hello there]]")) as stream,
    ):
        assert stream.get_final_completion().choices[0].message.content == "hello there"


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_tool_is_called_and_its_result_is_read(deployment: Deployment, streamed: bool) -> None:
    async with deployment.client(deployment.alice) as client:
        asked = user_message("how is the weather?")
        arguments: dict[str, Any] = {"model": MODEL, "tools": [WEATHER], "tool_choice": "required"}
        if streamed:
            async with client.chat.completions.stream(messages=asked, **arguments) as stream:
                message: Any = (await stream.get_final_completion()).choices[0].message
        else:
            message = (await client.chat.completions.create(messages=asked, **arguments)).choices[0].message
        call = message.tool_calls[0]
        assert call.function.name == "get_weather"
        result: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": call.id, "content": "[[text=sunny]]"}
        answer = await client.chat.completions.create(
            model=MODEL, messages=[*asked, message, result, *user_message("[[text=it is sunny]]")], tools=[WEATHER]
        )
    assert answer.choices[0].message.content == "it is sunny"
    assert [one["role"] for one in deployment.prompts()[-1]] == ["user", "assistant", "tool", "user"]


async def test_every_use_is_accounted_to_its_user(deployment: Deployment, dora: str) -> None:
    before = await usage(deployment, dora)
    tokens = [0, 0]
    async with deployment.client(dora) as client:
        for _ in range(2):
            answer = await client.chat.completions.create(model=MODEL, messages=user_message("hello"))
            assert answer.usage is not None
            tokens[0] += answer.usage.prompt_tokens
            tokens[1] += answer.usage.completion_tokens
        stream = await client.chat.completions.create(model=MODEL, messages=user_message("hello"), stream=True)
        assert [chunk async for chunk in stream]
    expected = (before[0] + 3, before[1] + tokens[0] * 3 // 2, before[2] + tokens[1] * 3 // 2)
    while await usage(deployment, dora) != expected:  # a moment behind the answer
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_disconnects_stops_the_engine_and_is_accounted(
    deployment: Deployment, dora: str, stream: bool
) -> None:
    requests, read, _ = await usage(deployment, dora)
    text = f"[[tokens=3000 pace=0.02]] {'leaving a stream' if stream else 'leaving before the answer'}"

    async def ask() -> None:
        async with deployment.client(dora) as client:
            answer: Any = await client.chat.completions.create(model=MODEL, messages=user_message(text), stream=stream)
            async for _ in answer:
                pass

    asking = asyncio.create_task(ask())
    await until(lambda: text in str(deployment.prompts()[-1:]) and deployment.engine_request(text)["tokens"] > 3)
    asking.cancel()
    await asyncio.wait([asking])
    await until(lambda: deployment.engine_request(text)["state"] == "abandoned")
    assert deployment.engine_request(text)["tokens"] < 1000
    while (await usage(deployment, dora))[0] == requests:
        await asyncio.sleep(0.02)
    assert (await usage(deployment, dora))[1] > read


async def test_a_clients_parameters_override_the_deployments_defaults(deployment: Deployment) -> None:
    text = "say it my way"
    async with deployment.client(deployment.alice) as client:
        answer = await client.chat.completions.create(
            model=MODEL, messages=user_message(text), temperature=0, max_tokens=2
        )
    assert answer.choices[0].finish_reason == "length"
    body = deployment.engine_request(text)["body"]
    assert (body["temperature"], body["max_tokens"]) == (0, 2)
    assert (body["top_p"], body["repetition_penalty"]) == (0.9, 1.2)
    assert body["messages"] == user_message(text)


async def test_users_do_not_share_a_prefix_cache(deployment: Deployment) -> None:
    salts = []
    for key, text in ((deployment.alice, "the salt of alice"), (deployment.bob, "the salt of bob")):
        async with deployment.client(key) as client:
            await client.chat.completions.create(model=MODEL, messages=user_message(text))
        salts.append(deployment.engine_request(text)["body"]["cache_salt"])
    assert salts[0] != salts[1]


@pytest.mark.parametrize("field", ["priority", "cache_salt", "chat_template", "top_k", "return_token_ids"])
async def test_a_field_of_the_engine_is_refused_by_name(deployment: Deployment, field: str) -> None:
    async with deployment.client(deployment.alice) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model=MODEL, messages=user_message("hi"), extra_body={field: 1})
    assert (caught.value.param, caught.value.code) == (field, "unknown_parameter")


async def test_an_image_is_refused_with_its_position(deployment: Deployment) -> None:
    image: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    async with deployment.client(deployment.alice) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [image]}])
    assert (caught.value.param, caught.value.code) == ("messages[0].content[0]", "unsupported_content")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(deployment: Deployment, stream: bool) -> None:
    async with deployment.client(deployment.alice) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model=MODEL, messages=user_message("word " * 5000), stream=stream)
    assert caught.value.code == "context_length_exceeded"
    assert "4096" in caught.value.message


async def test_a_failure_in_the_middle_reaches_the_client_as_an_error(deployment: Deployment) -> None:
    async with deployment.client(deployment.alice) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=user_message("[[error=after:3 tokens=50]]"), stream=True
        )
        with pytest.raises(openai.APIError) as caught:
            async for _ in stream:
                pass
    assert caught.value.code == "model_error"


async def test_the_model_is_listed_without_the_engines_paths(deployment: Deployment) -> None:
    async with deployment.client(deployment.alice) as client:
        (listed,) = (await client.models.list()).data
        assert listed == await client.models.retrieve(MODEL)
        assert listed.to_dict() == {
            "id": MODEL,
            "object": "model",
            "created": listed.created,
            "owned_by": "parley",
            "max_model_len": 4096,
        }
        assert listed.created > 0
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.models.retrieve("someone/else")
        with pytest.raises(openai.NotFoundError) as wrong:
            await client.chat.completions.create(model="gpt-9", messages=user_message("hi"))
    assert unknown.value.code == wrong.value.code == "model_not_found"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/parley-demo", "/v1/usage", "/v1/chat/completions"])
async def test_without_a_key_every_request_is_refused(deployment: Deployment, path: str) -> None:
    async with httpx2.AsyncClient(base_url=deployment.stack.url) as client:
        answer = await (client.post(path, json={}) if path.endswith("completions") else client.get(path))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("days", ["0", "101", "x"])
async def test_an_invalid_number_of_days_is_refused_by_name(deployment: Deployment, days: str) -> None:
    async with deployment.client(deployment.alice) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.get("/usage", cast_to=httpx2.Response, options={"params": {"days": days}})
    assert caught.value.param == "days"
