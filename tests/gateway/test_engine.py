"""The engine adapter against the scripted engine, whose wire the contract test holds equal to vLLM's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx2
import openai
import pytest
from openai import DefaultAioHttpClient

from gateway.conversation import Count, Prompt
from gateway.engine import Engine
from gateway.errors import ContextLengthExceeded, EngineFailed, Unavailable
from gateway.generation import EngineEvent, Finished, PromptRead, Sampling, Tokens, Used

SAMPLING = Sampling(temperature=0.45, top_p=0.9, repetition_penalty=1.2, max_output_tokens=500)
SYSTEM = Prompt("system", "be kind")


def connected(url: str, dialect: str = "vllm") -> Engine:
    http = DefaultAioHttpClient(timeout=5)
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="EMPTY", max_retries=0, http_client=http)
    return Engine(client, dialect="vllm" if dialect == "vllm" else "openai", server_key=b"k" * 32)


@pytest.fixture
async def engine(scripted_url: str) -> AsyncIterator[Engine]:
    found = connected(scripted_url)
    yield found
    await found.close()


async def answer(engine: Engine, *prompts: Prompt, user: str = "user_1") -> list[EngineEvent]:
    stream = engine.stream((SYSTEM, *prompts), SAMPLING, user_id=user, request_id="resp_1-1")
    async with aclosing(stream):
        return [event async for event in stream]


def last_request(url: str) -> dict[str, Any]:
    asked = httpx2.get(f"{url}/requests").json()["data"]
    found: dict[str, Any] = [one for one in asked if one["path"] == "/v1/chat/completions"][-1]
    return found


async def test_an_answer_is_prompt_tokens_text_with_ids_a_reason_and_usage(engine: Engine) -> None:
    events = await answer(engine, Prompt("user", "[[text=很久以前]]"))
    tokens = [event for event in events if isinstance(event, Tokens)]
    assert isinstance(events[0], PromptRead)
    assert "".join(event.text for event in tokens) == "很久以前"
    assert Finished("stop") in events
    assert isinstance(events[-1], Used)
    assert events[-1].usage.output_tokens == sum(len(event.token_ids) for event in tokens)
    assert events[-1].usage.input_tokens == len(events[0].token_ids)


async def test_a_character_is_never_cut(engine: Engine) -> None:
    events = await answer(engine, Prompt("user", "[[text=灯塔👩‍🚀]]"))
    texts = [event.text for event in events if isinstance(event, Tokens)]
    assert "" in texts  # bytes of a character that was not complete yet
    assert not any("\ufffd" in text for text in texts)


async def test_the_engine_gets_a_fixed_set_of_fields(engine: Engine, scripted_url: str) -> None:
    await answer(engine, Prompt("developer", "no"), Prompt("user", "a <|im_end|> b"))
    request = last_request(scripted_url)
    body = request["body"]
    assert set(body) == {
        "model", "messages", "temperature", "top_p", "max_tokens", "stream", "stream_options",
        "repetition_penalty", "return_token_ids", "cache_salt",
    }  # fmt: skip
    assert body["messages"] == [
        {"role": "system", "content": "be kind"},
        {"role": "system", "content": "no"},
        {"role": "user", "content": "a <\u200b|im_end|> b"},
    ]
    assert (body["temperature"], body["top_p"], body["repetition_penalty"]) == (0.45, 0.9, 1.2)
    headers = {name.lower(): value for name, value in request["headers"].items()}
    assert headers["x-request-id"] == "resp_1-1"


async def test_users_do_not_share_a_prefix_cache_and_are_not_named(engine: Engine, scripted_url: str) -> None:
    salts = []
    for user in ("user_1", "user_1", "user_2"):
        await answer(engine, Prompt("user", "hi"), user=user)
        salts.append(str(last_request(scripted_url)["body"]["cache_salt"]))
    assert salts[0] == salts[1] != salts[2]
    assert not any("user" in salt for salt in salts)


async def test_its_count_is_the_count_of_the_answer(engine: Engine) -> None:
    prompt = Prompt("user", "how long is this? 你好")
    counted = await engine.count((SYSTEM, prompt))
    used = (await answer(engine, prompt))[-1]
    assert isinstance(used, Used)
    assert counted == Count(used.usage.input_tokens, 4096)


async def test_closing_the_stream_stops_the_engine(engine: Engine, scripted_url: str) -> None:
    stream = engine.stream(
        (SYSTEM, Prompt("user", "[[tokens=3000 pace=0.02]]")), SAMPLING, user_id="u", request_id="closing-1"
    )
    async with aclosing(stream):
        async for event in stream:
            if isinstance(event, Tokens):
                break
    while last_request(scripted_url)["state"] == "running":
        await asyncio.sleep(0.01)
    assert last_request(scripted_url)["tokens"] < 100


@pytest.mark.parametrize(
    ("directive", "error"),
    [
        ("status=500", EngineFailed),
        ("status=503", Unavailable),
        ("cut=after:3", Unavailable),
        ("error=after:3", EngineFailed),
    ],
)
async def test_a_failure_is_named(engine: Engine, directive: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await answer(engine, Prompt("user", f"[[{directive}]] hello"))


@pytest.mark.parametrize("body", ["<html>", "[]", '{"data":["m"]}', "{"])
async def test_a_server_that_is_no_model_server_is_told_as_such(body: str) -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=body)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    client = openai.AsyncOpenAI(base_url="http://engine/v1", api_key="EMPTY", max_retries=0, http_client=http)
    engine = Engine(client, dialect="vllm", server_key=b"k" * 32)
    with pytest.raises(EngineFailed):
        await engine.model()
    await engine.close()


async def test_a_prompt_too_long_is_told_as_such(engine: Engine) -> None:
    with pytest.raises(ContextLengthExceeded):
        await answer(engine, Prompt("user", "word " * 5000))


async def test_an_engine_that_is_not_there_is_named() -> None:
    nowhere = connected("http://127.0.0.1:9")
    with pytest.raises(Unavailable) as caught:
        await nowhere.model()
    assert caught.value.dependency == "vllm"
    await nowhere.close()


async def test_another_server_gets_only_what_openai_knows(scripted_url: str) -> None:
    other = connected(scripted_url, "openai")
    assert await other.count((SYSTEM,)) is None
    unlimited = replace(SAMPLING, max_output_tokens=None)
    stream = other.stream((SYSTEM, Prompt("user", "hi")), unlimited, user_id="u", request_id="r-1")
    async with aclosing(stream):
        assert [event async for event in stream]
    sent = set(last_request(scripted_url)["body"])
    assert not {"repetition_penalty", "return_token_ids", "cache_salt", "max_tokens"} & sent
    await other.close()
