"""Chat completions between a client and the scripted engine: the `relay`."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx2
import openai
import pytest
from openai import DefaultAioHttpClient
from starlette.types import Message

from gateway.engine.addresses import Addresses
from gateway.engine.balancer import EngineBalancer
from gateway.engine.client import EngineClient
from gateway.engine.pool import EnginePool
from gateway.engine.relay import ChatRelay
from gateway.engine.server_sent_events import event_data
from gateway.errors import ContextLengthExceeded, EngineFailed, EngineRefused, ParleyError, Unavailable
from gateway.inference import OutputOptions, PromptMessage, Sampling
from gateway.protocol.chat_completions import decode_chat_completion
from gateway.protocol.resources import Usage
from gateway.routes.relayed_response import RelayedResponse
from tests.gateway.engine.scripted_engine import last_received

SAMPLING = Sampling(temperature=0.45, top_p=0.9, repetition_penalty=1.2, max_output_tokens=10_240)
WITH_USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}
CONTEXT = 4096


@pytest.fixture
async def engine(scripted_url: str) -> AsyncIterator[EngineBalancer]:
    http = DefaultAioHttpClient(timeout=5)
    client = openai.AsyncOpenAI(base_url=f"{scripted_url}/v1", api_key="EMPTY", max_retries=0, http_client=http)
    pool = EnginePool(Addresses([scripted_url]), lambda _: EngineClient(client, dialect="vllm", server_key=b"k" * 32))
    yield EngineBalancer(pool)
    await pool.close()


def relay(engine: EngineBalancer, text: str, *, user: str = "user_1", **fields: object) -> ChatRelay:
    body = {"messages": [{"role": "user", "content": text}], **fields}
    return ChatRelay(engine, decode_chat_completion(json.dumps(body).encode()), SAMPLING, user_id=user)


async def collect(chat: ChatRelay, received: list[bytes]) -> None:
    async with aclosing(chat.stream()) as events:
        async for event in events:
            received.append(event)  # noqa: PERF401 - keeps the events before a failure


async def streamed(chat: ChatRelay) -> list[bytes]:
    received: list[bytes] = []
    await collect(chat, received)
    return received


def chunks(events: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(event_data(event)) for event in events[:-1]]


async def direct(url: str, text: str) -> bytes:
    """The engine's own response to a streamed request."""
    body = {"messages": [{"role": "user", "content": text}], "stream": True, **WITH_USAGE}
    async with httpx2.AsyncClient(verify=False) as client:
        return (await client.post(f"{url}/v1/chat/completions", json=body)).content


def without_id_and_time(stream: bytes) -> list[bytes]:
    return [line[line.find(b'"choices"') :] for line in stream.splitlines()]


async def test_a_stream_is_passed_on_byte_for_byte(engine: EngineBalancer, scripted_url: str) -> None:
    relayed = await streamed(relay(engine, "[[pace=0 text=很久以前👩‍🚀]]", stream=True, **WITH_USAGE))
    assert all(event.endswith(b"\n\n") for event in relayed)
    expected = await direct(scripted_url, "[[pace=0 text=很久以前👩‍🚀]]")
    assert without_id_and_time(b"".join(relayed)) == without_id_and_time(expected)


async def test_the_usage_is_sent_if_requested_and_always_recorded(engine: EngineBalancer) -> None:
    text = "[[pace=0 tokens=5]] hello"
    requested, not_requested = relay(engine, text, stream=True, **WITH_USAGE), relay(engine, text, stream=True)
    with_usage, without = chunks(await streamed(requested)), chunks(await streamed(not_requested))
    assert with_usage[-1]["choices"] == []
    assert len(without) == len(with_usage) - 1
    assert all(chunk["choices"] for chunk in without)
    sent = with_usage[-1]["usage"]
    for usage in (await requested.usage(), await not_requested.usage()):
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (sent["prompt_tokens"], sent["completion_tokens"])


async def test_an_unstreamed_answer_is_passed_on_and_its_usage_recorded(
    engine: EngineBalancer, scripted_url: str
) -> None:
    relayed = relay(engine, "[[pace=0 text=很久以前]]")
    answer = json.loads(await relayed.complete())
    assert answer["choices"][0]["message"]["content"] == "很久以前"
    usage = await relayed.usage()
    assert usage is not None
    assert usage.total_tokens == answer["usage"]["total_tokens"]
    assert "stream" not in last_received(scripted_url)["body"]


async def test_the_engine_gets_a_fixed_set_of_fields_and_an_output_limit_within_its_context(
    engine: EngineBalancer, scripted_url: str
) -> None:
    await streamed(
        relay(engine, "[[pace=0 tokens=1]] hi", stream=True, seed=1, stop="x", user="u", metadata={"a": "b"})
    )
    body = last_received(scripted_url)["body"]
    assert set(body) == {
        "model", "messages", "temperature", "top_p", "repetition_penalty", "max_tokens", "seed", "stop", "stream",
        "stream_options", "cache_salt",
    }  # fmt: skip
    assert body["max_tokens"] == CONTEXT


async def test_users_do_not_share_a_prefix_cache_and_their_ids_are_not_sent(
    engine: EngineBalancer, scripted_url: str
) -> None:
    salts = []
    for user in ("user_1", "user_1", "user_2"):
        await relay(engine, "[[pace=0 tokens=1]] hi", user=user).complete()
        record = last_received(scripted_url)
        salts.append(record["body"]["cache_salt"])
        assert "user_" not in json.dumps(record)
    assert salts[0] == salts[1] != salts[2]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("directive", "error"), [("status=500", EngineFailed), ("status=503", Unavailable), ("status=400", EngineRefused)]
)
async def test_a_request_that_the_engine_has_not_accepted_has_no_usage(
    engine: EngineBalancer, directive: str, error: type[Exception], stream: bool
) -> None:
    relayed = relay(engine, f"[[{directive}]] hello", stream=stream)
    with pytest.raises(error):
        await (streamed(relayed) if stream else relayed.complete())
    assert await relayed.usage() is None


@pytest.mark.parametrize("stream", [True, False])
async def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(engine: EngineBalancer, stream: bool) -> None:
    relayed = relay(engine, "word " * 5000, stream=stream)
    with pytest.raises(ContextLengthExceeded) as caught:
        await (streamed(relayed) if stream else relayed.complete())
    assert caught.value.param == "messages"
    assert caught.value.limit == CONTEXT
    assert caught.value.tokens is not None
    assert caught.value.tokens > CONTEXT
    assert await relayed.usage() is None


async def test_a_prompt_that_leaves_room_for_no_token_is_also_too_long(engine: EngineBalancer) -> None:
    """The engine refuses it with another message, without a number."""

    async def tokens(pairs: int) -> int:
        tokenized = await engine.tokenize((PromptMessage("user", "a b " * pairs),), OutputOptions(), affinity="user_1")
        assert tokenized is not None
        return tokenized.count

    pairs = 10 + (CONTEXT - await tokens(10)) // 2
    assert await tokens(pairs) == CONTEXT
    with pytest.raises(ContextLengthExceeded) as caught:
        await relay(engine, "a b " * pairs).complete()
    assert (caught.value.tokens, caught.value.limit) == (CONTEXT, CONTEXT)


@pytest.mark.parametrize("fault", ["error", "cut"])
async def test_an_answer_that_breaks_off_has_a_usage_of_at_least_what_was_passed_on(
    engine: EngineBalancer, fault: str
) -> None:
    relayed = relay(engine, f"[[{fault}=after:5 tokens=50 pace=0.001]]", stream=True)
    passed_on: list[bytes] = []
    with pytest.raises(ParleyError):
        await collect(relayed, passed_on)
    usage = await relayed.usage()
    assert usage is not None
    assert usage.output_tokens == len(passed_on) - 1  # the first has only the role
    assert usage.input_tokens > 0


class FakeClient:
    """The client of one request, at the ASGI interface."""

    def __init__(self, relayed: ChatRelay, *, stream: bool, disconnects_after: int | None = None) -> None:
        self._disconnects_after = disconnects_after
        self._disconnected = asyncio.Event()
        self.received: list[Message] = []
        self.usages: list[Usage | None] = []
        self._response = RelayedResponse(relayed, stream=stream, on_close=self._account)
        self._relay = relayed

    async def run(self) -> None:
        await self._response({"type": "http"}, self._receive, self._send)

    def disconnect(self) -> None:
        self._disconnected.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.received)

    async def _receive(self) -> Message:
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.received.append(message)
        if len(self.received) == self._disconnects_after:
            self.disconnect()

    async def _account(self) -> None:
        self.usages.append(await self._relay.usage())


async def test_a_failure_after_the_first_event_is_an_error_event(engine: EngineBalancer) -> None:
    client = FakeClient(relay(engine, "[[error=after:3]] hello", stream=True), stream=True)
    await client.run()
    assert client.received[0]["status"] == 200
    *_, error, done = client.body.removesuffix(b"\n\n").split(b"\n\n")
    assert json.loads(event_data(error))["error"] == {
        "type": "model_error",
        "code": "model_error",
        "message": "the model server failed in the middle of an answer",
        "param": None,
    }
    assert done == b"data: [DONE]"


async def test_a_failure_before_the_first_event_sets_the_status(engine: EngineBalancer) -> None:
    client = FakeClient(relay(engine, "[[error=after:0]] hello", stream=True), stream=True)
    with pytest.raises(EngineFailed):
        await client.run()
    assert client.received == []


async def ended_at_engine(url: str, text: str) -> dict[str, Any]:
    """The engine's record of the request, once it has ended."""
    while True:
        record = last_received(url)
        if record["body"]["messages"][-1]["content"] == text and record["state"] not in ("waiting", "running"):
            return record
        await asyncio.sleep(0.01)


async def until_running_at_engine(url: str, text: str) -> None:
    while (record := last_received(url))["body"]["messages"][-1]["content"] != text or record["state"] != "running":
        await asyncio.sleep(0.01)


async def test_a_client_that_disconnects_stops_the_engine(engine: EngineBalancer, scripted_url: str) -> None:
    text = "[[tokens=3000 pace=0.02]] a client that disconnects"
    client = FakeClient(relay(engine, text, stream=True), stream=True, disconnects_after=5)
    await client.run()
    record = await ended_at_engine(scripted_url, text)
    assert record["state"] == "abandoned"
    assert record["tokens"] < 100
    (usage,) = client.usages
    assert usage is not None
    assert usage.output_tokens >= 3
    assert usage.input_tokens > 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_disconnects_before_the_first_event_stops_the_engine(
    engine: EngineBalancer, scripted_url: str, stream: bool
) -> None:
    text = f"[[tokens=3000 pace=0.02 first=60]] {'streamed' if stream else 'unstreamed'}, disconnected early"
    client = FakeClient(relay(engine, text, stream=stream), stream=stream)
    listening = asyncio.create_task(client.run())
    await until_running_at_engine(scripted_url, text)
    client.disconnect()
    await listening
    assert (await ended_at_engine(scripted_url, text))["state"] == "abandoned"
    assert client.received == []
    (usage,) = client.usages
    assert usage is not None
    assert (usage.input_tokens > 0, usage.output_tokens) == (True, 0)


async def test_cancelling_the_response_stops_the_engine(engine: EngineBalancer, scripted_url: str) -> None:
    text = "[[tokens=3000 pace=0.02]] a cancelled response"
    listening = asyncio.create_task(FakeClient(relay(engine, text), stream=False).run())
    await until_running_at_engine(scripted_url, text)
    listening.cancel()
    await asyncio.wait([listening])
    assert (await ended_at_engine(scripted_url, text))["state"] == "abandoned"
