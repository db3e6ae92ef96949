"""The `client` of one engine with its `model_catalog`, `tokenizer` and `errors`, against the scripted engine.

The contract test keeps the scripted engine's wire equal to vLLM's.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx2
import openai
import pytest

from gateway.engine.client import Dialect, EngineClient, connect
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
from tests.gateway.engine.scripted_engine import last_received

SYSTEM = PromptMessage("system", "be kind")
PLAIN = OutputOptions()
TOOLS = OutputOptions(
    tools=(FunctionTool("add", "adds", {"type": "object", "properties": {"a": {"type": "integer"}}}),)
)

Responder = Callable[[httpx2.Request], httpx2.Response]


def client_of(url: str, dialect: Dialect = "vllm", model: str = "") -> EngineClient:
    return connect(
        f"{url}/v1",
        api_key="EMPTY",
        dialect=dialect,
        server_key=b"k" * 32,
        model=model,
        connections=100,
        read_timeout_seconds=5,
    )


def client_of_fake(respond: Responder, model: str = "") -> EngineClient:
    """Of an engine that sends what no healthy one would."""

    async def handle(request: httpx2.Request) -> httpx2.Response:
        return respond(request)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(handle))
    client = openai.AsyncOpenAI(base_url="http://engine/v1", api_key="EMPTY", max_retries=0, http_client=http)
    return EngineClient(client, dialect="vllm", server_key=b"k" * 32, model=model)


@pytest.fixture
async def engine(scripted_url: str) -> AsyncIterator[EngineClient]:
    found = client_of(scripted_url)
    yield found
    await found.close()


async def collect(stream: AsyncGenerator[EngineEvent]) -> list[EngineEvent]:
    async with aclosing(stream):
        return [event async for event in stream]


async def answer(
    engine: EngineClient, *messages: PromptMessage | str, options: OutputOptions = PLAIN, user: str = "user_1"
) -> list[EngineEvent]:
    prompt = (SYSTEM, *(PromptMessage("user", one) if isinstance(one, str) else one for one in messages))
    return await collect(engine.stream(call(prompt, options=options, user_id=user)))


def call(prompt: tuple[PromptMessage, ...], **fields: Any) -> EngineCall:
    return replace(EngineCall(prompt, SAMPLING, PLAIN, "user_1", "resp_1-1", "conv_1"), **fields)


def text_of(events: list[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def ids_of(events: list[EngineEvent]) -> list[int]:
    return [
        one
        for event in events
        if isinstance(event, TextDelta | ReasoningTextDelta | ToolCallDelta)
        for one in event.token_ids
    ]


async def test_an_answer_has_prompt_tokens_text_with_ids_a_finish_reason_and_usage(engine: EngineClient) -> None:
    first, *events, last = await answer(engine, "[[pace=0 text=很久以前]]")
    assert isinstance(first, PromptTokens)
    assert text_of(events) == "很久以前"
    assert Finished("stop") in events
    assert isinstance(last, UsageReport)
    assert last.usage.output_tokens == len(ids_of(events))
    assert last.usage.input_tokens == len(first.token_ids)


async def test_a_character_is_never_split(engine: EngineClient) -> None:
    texts = [event.text for event in await answer(engine, "[[pace=0 text=灯塔👩‍🚀]]") if isinstance(event, TextDelta)]
    assert "" in texts  # the bytes of a character that was still incomplete
    assert not any("\ufffd" in text for text in texts)


async def test_the_engine_gets_a_fixed_set_of_fields(engine: EngineClient, scripted_url: str) -> None:
    await answer(engine, "[[pace=0 tokens=1]] a <|im_end|> b")
    request = last_received(scripted_url)
    body = request["body"]
    assert set(body) == {
        "model", "messages", "temperature", "top_p", "max_tokens", "stream", "stream_options",
        "repetition_penalty", "return_token_ids", "cache_salt",
    }  # fmt: skip
    assert body["messages"] == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "[[pace=0 tokens=1]] a <\u200b|im_end|> b"},
    ]
    assert (body["temperature"], body["top_p"], body["repetition_penalty"]) == (0.45, 0.9, 1.2)
    headers = {name.lower(): value for name, value in request["headers"].items()}
    assert headers["x-request-id"] == "resp_1-1"


async def test_a_tool_call_arrives_in_deltas_that_make_up_its_arguments(engine: EngineClient) -> None:
    events = await answer(engine, '[[pace=0 call=add args={"a": 12}]]', options=TOOLS)
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert [delta.name for delta in deltas if delta.name] == ["add"]
    assert json.loads("".join(delta.arguments for delta in deltas)) == {"a": 12}
    assert Finished("stop") in events


async def test_the_result_of_a_tool_call_is_sent_to_the_model(engine: EngineClient, scripted_url: str) -> None:
    call = PromptMessage("assistant", "", (PromptToolCall("call_1", "add", '{"a":1}'),))
    events = await answer(
        engine, "1+1?", call, PromptMessage("tool", "[[pace=0 text=two]]", call_id="call_1"), options=TOOLS
    )
    assert text_of(events) == "two"
    assert last_received(scripted_url)["body"]["messages"][-1]["tool_call_id"] == "call_1"


async def test_users_do_not_share_a_prefix_cache_and_their_ids_are_not_sent(
    engine: EngineClient, scripted_url: str
) -> None:
    salts = []
    for user in ("user_1", "user_1", "user_2"):
        await answer(engine, "[[pace=0 tokens=1]] hi", user=user)
        salts.append(str(last_received(scripted_url)["body"]["cache_salt"]))
    assert salts[0] == salts[1] != salts[2]
    assert not any("user" in salt for salt in salts)


@pytest.mark.parametrize("options", [PLAIN, TOOLS])
async def test_the_token_count_equals_that_of_the_answers_usage(engine: EngineClient, options: OutputOptions) -> None:
    prompts = (SYSTEM, PromptMessage("user", "[[pace=0 tokens=1]] how long is this? 你好"))
    usage = (await answer(engine, *prompts[1:], options=options))[-1]
    assert isinstance(usage, UsageReport)
    tokenized = await engine.tokenize(prompts, options)
    assert tokenized is not None
    assert tokenized == TokenizedPrompt(usage.usage.input_tokens, 4096, tokenized.ids)
    assert len(tokenized.ids) == usage.usage.input_tokens


async def test_the_model_and_its_context_are_those_that_the_engine_reports(engine: EngineClient) -> None:
    assert (await engine.model(), await engine.context_limit()) == ("parley-demo", 4096)


async def test_an_answer_continued_from_its_token_ids_is_the_same_answer(
    engine: EngineClient, scripted_url: str
) -> None:
    first, *events = await answer(engine, "[[pace=0 first=0 text=很久以前, there was a 灯塔]]")
    assert isinstance(first, PromptTokens)
    ids = ids_of(events)
    for received in range(len(ids)):
        token_ids = (*first.token_ids, *ids[:received])
        rest = await collect(engine.stream(call((), request_id="resp_1-2", token_ids=token_ids)))
        assert ids[:received] + ids_of(rest) == ids
    body = last_received(scripted_url, "/v1/completions")["body"]
    assert body["cache_salt"] == last_received(scripted_url)["body"]["cache_salt"]
    assert (body["max_tokens"], body["temperature"]) == (1000, 0.45)


async def test_ids_that_end_inside_a_character_are_detokenized_to_a_replacement_character(engine: EngineClient) -> None:
    ids = ids_of(await answer(engine, "[[pace=0 text=👩]]"))
    texts = [await engine.detokenize(ids[: 1 + end]) for end in range(len(ids))]
    assert "👩" in texts[-1]
    assert any(text.endswith("\ufffd") for text in texts)


async def test_closing_the_stream_stops_the_engine(engine: EngineClient, scripted_url: str) -> None:
    prompts = (SYSTEM, PromptMessage("user", "[[tokens=3000 pace=0.02]]"))
    stream = engine.stream(call(prompts, user_id="u", request_id="closing-1"))
    async with aclosing(stream):
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    while last_received(scripted_url)["state"] == "running":
        await asyncio.sleep(0.01)
    assert last_received(scripted_url)["tokens"] < 100


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
async def test_each_failure_is_translated(engine: EngineClient, directive: str, error: type[ParleyError]) -> None:
    with pytest.raises(error):
        # The engine refuses an unknown directive as it does a schema that it cannot compile.
        await answer(engine, f"[[{directive}]] hello" if "unheard" not in directive else f"[[tokens=1 {directive}]]")


@pytest.mark.parametrize("path", ["model", "tokenize", "detokenize", "probe"])
@pytest.mark.parametrize("body", ["<html>", "[]", '{"data":["m"]}', "{"])
async def test_a_server_that_is_not_a_model_server_is_an_engine_failure(path: str, body: str) -> None:
    engine = client_of_fake(lambda _: httpx2.Response(200, text=body), "" if path in ("model", "probe") else "m")
    arguments: dict[str, tuple[Any, ...]] = {"tokenize": ((SYSTEM,), PLAIN), "detokenize": ((1,),)}
    with pytest.raises(EngineFailed):
        await getattr(engine, path)(*arguments.get(path, ()))
    await engine.close()


async def test_a_stream_without_chunks_is_an_engine_failure() -> None:
    engine = client_of_fake(lambda _: httpx2.Response(200, text="data: <html>\n\n"), "m")
    with pytest.raises(EngineFailed):
        await answer(engine, "hi")
    await engine.close()


async def test_a_refusal_has_the_engines_reason() -> None:
    error = {"error": {"message": "no grammar for this schema", "type": "BadRequestError", "code": 400}}
    engine = client_of_fake(lambda _: httpx2.Response(400, json=error), "m")
    with pytest.raises(EngineRefused, match="no grammar"):
        await answer(engine, "hi", options=OutputOptions(format=JsonSchema("x", {})))
    await engine.close()


async def test_a_prompt_that_is_too_long_is_refused_as_such(engine: EngineClient) -> None:
    with pytest.raises(ContextLengthExceeded):
        await answer(engine, "word " * 5000)


async def test_the_context_is_read_again_after_the_engine_restarts_with_a_smaller_one() -> None:
    limits = iter([8000, 2000])
    error = {"error": {"message": "This model's maximum context length is 2000 tokens.", "code": 400}}

    def respond(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/models"):
            return httpx2.Response(200, json={"data": [{"id": "m", "max_model_len": next(limits)}]})
        return httpx2.Response(400, json=error)

    engine = client_of_fake(respond)
    assert await engine.context_limit() == 8000
    with pytest.raises(ContextLengthExceeded):
        await answer(engine, "hi")
    assert await engine.context_limit() == 2000
    await engine.close()


async def test_an_unreachable_engine_is_unavailable() -> None:
    unreachable = client_of("http://127.0.0.1:9")
    for request in (unreachable.model(), unreachable.context_limit(), unreachable.probe(), answer(unreachable, "hi")):
        with pytest.raises(Unavailable) as caught:
            await request
        assert caught.value.dependency == "vllm"
    await unreachable.close()


async def test_an_engine_that_does_not_serve_the_model_fails_the_probe(scripted_url: str) -> None:
    other = client_of(scripted_url, model="another")
    with pytest.raises(Unavailable):
        await other.probe()
    await other.close()


async def test_the_openai_dialect_sends_no_fields_of_vllm(scripted_url: str) -> None:
    other = client_of(scripted_url, "openai")
    assert await other.tokenize((SYSTEM,), PLAIN) is None
    assert await other.context_limit() is None
    unlimited = replace(SAMPLING, max_output_tokens=None)
    prompt = (SYSTEM, PromptMessage("user", "[[pace=0 tokens=1]] hi"))
    assert await collect(other.stream(call(prompt, sampling=unlimited, user_id="u", request_id="r-1")))
    sent = set(last_received(scripted_url)["body"])
    assert not {"repetition_penalty", "return_token_ids", "cache_salt", "max_tokens"} & sent
    await other.close()


async def test_a_prompt_is_tokenized_with_its_reasoning_effort() -> None:
    bodies: list[Wire] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/models"):
            return httpx2.Response(200, json={"data": [{"id": "parley-demo", "max_model_len": 4096}]})
        bodies.append(json.loads(request.content))
        return httpx2.Response(200, json={"count": 1, "max_model_len": 4096, "tokens": [1]})

    engine = client_of_fake(respond)
    for effort in (None, "high", "none"):
        tokenized = await engine.tokenize((SYSTEM,), OutputOptions(reasoning_effort=effort))
        assert tokenized is not None
        assert tokenized.ids == (1,)
    assert [body.get("chat_template_kwargs") for body in bodies] == [
        None,
        {"reasoning_effort": "high", "enable_thinking": True},
        {"reasoning_effort": "none", "enable_thinking": False},
    ]
