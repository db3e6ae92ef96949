"""The engine client against the scripted engine, whose wire the contract test holds equal to vLLM's."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Literal

import httpx2
import openai
import pytest
from openai import DefaultAioHttpClient

from gateway.engine.client import EngineClient
from gateway.errors import ContextLengthExceeded, EngineFailed, EngineRefused, ParleyError, Unavailable
from gateway.inference import (
    EngineCall,
    EngineEvent,
    Finished,
    OutputOptions,
    PromptMessage,
    PromptTokens,
    PromptToolCall,
    ReasoningTextDelta,
    TextDelta,
    TokenizedPrompt,
    ToolCallDelta,
    UsageReport,
)
from gateway.protocol.tools import FunctionTool, JsonSchema
from tests.gateway.builders import SAMPLING, Wire

SYSTEM = PromptMessage("system", "be kind")
PLAIN = OutputOptions()
TOOLS = OutputOptions(
    tools=(FunctionTool("add", "adds", {"type": "object", "properties": {"a": {"type": "integer"}}}),)
)

Answering = Callable[[httpx2.Request], httpx2.Response]


def connected(url: str, dialect: Literal["vllm", "openai"] = "vllm", model: str = "") -> EngineClient:
    http = DefaultAioHttpClient(timeout=5)
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="EMPTY", max_retries=0, http_client=http)
    return EngineClient(client, dialect=dialect, server_key=b"k" * 32, model=model)


def played(answer: Answering, model: str = "") -> EngineClient:
    """An engine that says what no healthy one would."""

    async def say(request: httpx2.Request) -> httpx2.Response:
        return answer(request)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(say))
    client = openai.AsyncOpenAI(base_url="http://engine/v1", api_key="EMPTY", max_retries=0, http_client=http)
    return EngineClient(client, dialect="vllm", server_key=b"k" * 32, model=model)


@pytest.fixture
async def engine(scripted_url: str) -> AsyncIterator[EngineClient]:
    found = connected(scripted_url)
    yield found
    await found.close()


async def whole(stream: AsyncGenerator[EngineEvent]) -> list[EngineEvent]:
    async with aclosing(stream):
        return [event async for event in stream]


async def answer(
    engine: EngineClient, *asked: PromptMessage | str, form: OutputOptions = PLAIN, user: str = "user_1"
) -> list[EngineEvent]:
    prompts = (SYSTEM, *(PromptMessage("user", one) if isinstance(one, str) else one for one in asked))
    return await whole(engine.stream(call(prompts, options=form, user_id=user)))


def call(prompt: tuple[PromptMessage, ...], **more: Any) -> EngineCall:
    fields = {"sampling": SAMPLING, "options": PLAIN, "user_id": "user_1", "request_id": "resp_1-1"} | more
    return EngineCall(prompt, affinity="conv_1", **fields)


def text_of(events: list[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def ids_of(events: list[EngineEvent]) -> list[int]:
    return [
        one
        for event in events
        if isinstance(event, TextDelta | ReasoningTextDelta | ToolCallDelta)
        for one in event.token_ids
    ]


def last_request(url: str, path: str = "/v1/chat/completions") -> Wire:
    asked = httpx2.get(f"{url}/requests").json()["data"]
    found: Wire = [one for one in asked if one["path"] == path][-1]
    return found


async def test_an_answer_is_prompt_tokens_text_with_ids_a_reason_and_usage(engine: EngineClient) -> None:
    first, *events, last = await answer(engine, "[[text=很久以前]]")
    assert isinstance(first, PromptTokens)
    assert text_of(events) == "很久以前"
    assert Finished("stop") in events
    assert isinstance(last, UsageReport)
    assert last.usage.output_tokens == len(ids_of(events))
    assert last.usage.input_tokens == len(first.token_ids)


async def test_a_character_is_never_cut(engine: EngineClient) -> None:
    texts = [event.text for event in await answer(engine, "[[text=灯塔👩‍🚀]]") if isinstance(event, TextDelta)]
    assert "" in texts  # bytes of a character that was not complete yet
    assert not any("\ufffd" in text for text in texts)


async def test_the_engine_gets_a_fixed_set_of_fields(engine: EngineClient, scripted_url: str) -> None:
    await answer(engine, "a <|im_end|> b")
    request = last_request(scripted_url)
    body = request["body"]
    assert set(body) == {
        "model", "messages", "temperature", "top_p", "max_tokens", "stream", "stream_options",
        "repetition_penalty", "return_token_ids", "cache_salt",
    }  # fmt: skip
    assert body["messages"] == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "a <\u200b|im_end|> b"},
    ]
    assert (body["temperature"], body["top_p"], body["repetition_penalty"]) == (0.45, 0.9, 1.2)
    headers = {name.lower(): value for name, value in request["headers"].items()}
    assert headers["x-request-id"] == "resp_1-1"


async def test_a_call_comes_in_pieces_that_make_up_its_arguments(engine: EngineClient) -> None:
    events = await answer(engine, '[[call=add args={"a": 12}]]', form=TOOLS)
    pieces = [event for event in events if isinstance(event, ToolCallDelta)]
    assert [piece.name for piece in pieces if piece.name] == ["add"]
    assert json.loads("".join(piece.arguments for piece in pieces)) == {"a": 12}
    assert Finished("stop") in events


async def test_the_result_of_a_call_goes_back_to_the_model(engine: EngineClient, scripted_url: str) -> None:
    call = PromptMessage("assistant", "", (PromptToolCall("call_1", "add", '{"a":1}'),))
    events = await answer(engine, "1+1?", call, PromptMessage("tool", "[[text=two]]", call_id="call_1"), form=TOOLS)
    assert text_of(events) == "two"
    assert last_request(scripted_url)["body"]["messages"][-1]["tool_call_id"] == "call_1"


async def test_users_do_not_share_a_prefix_cache_and_are_not_named(engine: EngineClient, scripted_url: str) -> None:
    salts = []
    for user in ("user_1", "user_1", "user_2"):
        await answer(engine, "hi", user=user)
        salts.append(str(last_request(scripted_url)["body"]["cache_salt"]))
    assert salts[0] == salts[1] != salts[2]
    assert not any("user" in salt for salt in salts)


@pytest.mark.parametrize("form", [PLAIN, TOOLS])
async def test_its_count_is_the_count_of_the_answer(engine: EngineClient, form: OutputOptions) -> None:
    prompts = (SYSTEM, PromptMessage("user", "how long is this? 你好"))
    used = (await answer(engine, *prompts[1:], form=form))[-1]
    assert isinstance(used, UsageReport)
    tokenized = await engine.tokenize(prompts, form)
    assert tokenized is not None
    assert tokenized == TokenizedPrompt(used.usage.input_tokens, 4096, tokenized.ids)
    assert len(tokenized.ids) == used.usage.input_tokens


async def test_the_model_and_its_context_are_what_the_engine_says(engine: EngineClient) -> None:
    assert (await engine.model(), await engine.context_limit()) == ("parley-demo", 4096)


async def test_an_answer_goes_on_from_its_token_ids_as_if_nothing_had_happened(
    engine: EngineClient, scripted_url: str
) -> None:
    first, *events = await answer(engine, "[[text=很久以前, there was a 灯塔]]")
    assert isinstance(first, PromptTokens)
    ids = ids_of(events)
    for said in range(len(ids)):
        token_ids = (*first.token_ids, *ids[:said])
        rest = await whole(engine.stream(call((), request_id="resp_1-2", token_ids=token_ids)))
        assert ids[:said] + ids_of(rest) == ids
    body = last_request(scripted_url, "/v1/completions")["body"]
    assert body["cache_salt"] == last_request(scripted_url)["body"]["cache_salt"]
    assert (body["max_tokens"], body["temperature"]) == (1000, 0.45)


async def test_ids_that_end_inside_a_character_are_told_as_such(engine: EngineClient) -> None:
    ids = ids_of(await answer(engine, "[[text=👩]]"))
    told = [await engine.detokenize(ids[: 1 + end]) for end in range(len(ids))]
    assert "👩" in told[-1]
    assert any(text.endswith("\ufffd") for text in told)


async def test_closing_the_stream_stops_the_engine(engine: EngineClient, scripted_url: str) -> None:
    prompts = (SYSTEM, PromptMessage("user", "[[tokens=3000 pace=0.02]]"))
    stream = engine.stream(call(prompts, user_id="u", request_id="closing-1"))
    async with aclosing(stream):
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    while last_request(scripted_url)["state"] == "running":
        await asyncio.sleep(0.01)
    assert last_request(scripted_url)["tokens"] < 100


@pytest.mark.parametrize(
    ("directive", "error"),
    [
        ("status=500", EngineFailed),
        ("status=404", EngineFailed),
        ("status=503", Unavailable),
        ("status=429", Unavailable),
        ("cut=after:3", Unavailable),
        ("cut=after:3,by:reset", Unavailable),
        ("cut=after:3,by:end", Unavailable),
        ("error=after:3", EngineFailed),
        ("unheard=of", EngineRefused),
    ],
)
async def test_a_failure_is_named(engine: EngineClient, directive: str, error: type[ParleyError]) -> None:
    with pytest.raises(error):
        # A directive that the engine does not know is refused by it, like a schema it has no grammar for.
        await answer(engine, f"[[{directive}]] hello" if "unheard" not in directive else f"[[tokens=1 {directive}]]")


@pytest.mark.parametrize("path", ["model", "tokenize", "detokenize", "probe"])
@pytest.mark.parametrize("body", ["<html>", "[]", '{"data":["m"]}', "{"])
async def test_a_server_that_is_no_model_server_is_told_as_such(path: str, body: str) -> None:
    engine = played(lambda _: httpx2.Response(200, text=body), "" if path in ("model", "probe") else "m")
    arguments: dict[str, tuple[Any, ...]] = {"tokenize": ((SYSTEM,), PLAIN), "detokenize": ((1,),)}
    with pytest.raises(EngineFailed):
        await getattr(engine, path)(*arguments.get(path, ()))
    await engine.close()


async def test_a_stream_that_is_no_stream_of_chunks_is_told_as_such() -> None:
    engine = played(lambda _: httpx2.Response(200, text="data: <html>\n\n"), "m")
    with pytest.raises(EngineFailed):
        await answer(engine, "hi")
    await engine.close()


async def test_what_the_engine_refuses_is_told_with_its_reason() -> None:
    error = {"error": {"message": "no grammar for this schema", "type": "BadRequestError", "code": 400}}
    engine = played(lambda _: httpx2.Response(400, json=error), "m")
    with pytest.raises(EngineRefused, match="no grammar"):
        await answer(engine, "hi", form=OutputOptions(format=JsonSchema("x", {})))
    await engine.close()


async def test_a_prompt_too_long_is_told_as_such(engine: EngineClient) -> None:
    with pytest.raises(ContextLengthExceeded):
        await answer(engine, "word " * 5000)


async def test_an_engine_that_came_back_smaller_is_asked_again_for_its_context() -> None:
    limits = iter([8000, 2000])
    error = {"error": {"message": "This model's maximum context length is 2000 tokens.", "code": 400}}

    def say(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/models"):
            return httpx2.Response(200, json={"data": [{"id": "m", "max_model_len": next(limits)}]})
        return httpx2.Response(400, json=error)

    engine = played(say)
    assert await engine.context_limit() == 8000
    with pytest.raises(ContextLengthExceeded):
        await answer(engine, "hi")
    assert await engine.context_limit() == 2000
    await engine.close()


async def test_an_engine_that_is_not_there_is_named() -> None:
    nowhere = connected("http://127.0.0.1:9")
    for asked in (nowhere.model(), nowhere.context_limit(), nowhere.probe(), answer(nowhere, "hi")):
        with pytest.raises(Unavailable) as caught:
            await asked
        assert caught.value.dependency == "vllm"
    await nowhere.close()


async def test_an_engine_that_does_not_serve_the_model_is_not_ready(scripted_url: str) -> None:
    other = connected(scripted_url, model="another")
    with pytest.raises(Unavailable):
        await other.probe()
    await other.close()


async def test_another_server_gets_only_what_openai_knows(scripted_url: str) -> None:
    other = connected(scripted_url, "openai")
    assert await other.tokenize((SYSTEM,), PLAIN) is None
    assert await other.context_limit() is None
    unlimited = replace(SAMPLING, max_output_tokens=None)
    prompt = (SYSTEM, PromptMessage("user", "hi"))
    assert await whole(other.stream(call(prompt, sampling=unlimited, user_id="u", request_id="r-1")))
    sent = set(last_request(scripted_url)["body"])
    assert not {"repetition_penalty", "return_token_ids", "cache_salt", "max_tokens"} & sent
    await other.close()


async def test_a_prompt_is_counted_as_the_engine_would_render_it_for_that_effort() -> None:
    counted: list[Wire] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/models"):
            return httpx2.Response(200, json={"data": [{"id": "parley-demo", "max_model_len": 4096}]})
        counted.append(json.loads(request.content))
        return httpx2.Response(200, json={"count": 1, "max_model_len": 4096, "tokens": [1]})

    engine = played(answer)
    for effort in (None, "high", "none"):
        tokenized = await engine.tokenize((SYSTEM,), OutputOptions(reasoning_effort=effort))
        assert tokenized is not None
        assert tokenized.ids == (1,)
    assert [body.get("chat_template_kwargs") for body in counted] == [
        None,
        {"reasoning_effort": "high", "enable_thinking": True},
        {"reasoning_effort": "none", "enable_thinking": False},
    ]
