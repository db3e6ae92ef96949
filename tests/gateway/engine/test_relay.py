"""What passes between a client of chat completions and the scripted engine."""

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
from gateway.engine.server_sent_events import data_of, whole_events
from gateway.errors import ContextLengthExceeded, EngineFailed, EngineRefused, ParleyError, Unavailable
from gateway.inference import OutputOptions, PromptMessage, Sampling
from gateway.protocol.chat_completions import decode_chat_completion
from gateway.protocol.resources import Usage
from gateway.routes.relayed import RelayedResponse

SAMPLING = Sampling(temperature=0.45, top_p=0.9, repetition_penalty=1.2, max_output_tokens=10_240)
USAGE_WANTED: dict[str, Any] = {"stream_options": {"include_usage": True}}
CONTEXT = 4096


@pytest.fixture
async def engine(scripted_url: str) -> AsyncIterator[EngineBalancer]:
    http = DefaultAioHttpClient(timeout=5)
    client = openai.AsyncOpenAI(base_url=f"{scripted_url}/v1", api_key="EMPTY", max_retries=0, http_client=http)
    roster = EnginePool(Addresses([scripted_url]), lambda _: EngineClient(client, dialect="vllm", server_key=b"k" * 32))
    yield EngineBalancer(roster)
    await roster.close()


def relay(engine: EngineBalancer, text: str, *, user: str = "user_1", **fields: object) -> ChatRelay:
    body = {"messages": [{"role": "user", "content": text}], **fields}
    return ChatRelay(engine, decode_chat_completion(json.dumps(body).encode()), SAMPLING, user_id=user)


async def follow(relayed: ChatRelay, heard: list[bytes]) -> None:
    async with aclosing(relayed.events()) as events:
        async for event in events:
            heard.append(event)  # noqa: PERF401 - what came before a failure is wanted too


async def streamed(relayed: ChatRelay) -> list[bytes]:
    heard: list[bytes] = []
    await follow(relayed, heard)
    return heard


def chunks(events: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(data_of(event)) for event in events[:-1]]


def last_request(url: str) -> dict[str, Any]:
    asked = httpx2.get(f"{url}/requests").json()["data"]
    found: dict[str, Any] = [one for one in asked if one["path"] == "/v1/chat/completions"][-1]
    return found


async def straight(url: str, text: str) -> bytes:
    """What the engine itself says to a streamed request."""
    body = {"messages": [{"role": "user", "content": text}], "stream": True, **USAGE_WANTED}
    async with httpx2.AsyncClient() as client:
        return (await client.post(f"{url}/v1/chat/completions", json=body)).content


def without_stamps(stream: bytes) -> list[bytes]:
    """Without the id and the time, which differ between two requests."""
    return [line[line.find(b'"choices"') :] for line in stream.splitlines()]


async def test_a_stream_is_the_engines_byte_for_byte(engine: EngineBalancer, scripted_url: str) -> None:
    relayed = await streamed(relay(engine, "[[text=很久以前👩‍🚀]]", stream=True, **USAGE_WANTED))
    assert all(event.endswith(b"\n\n") for event in relayed)
    expected = await straight(scripted_url, "[[text=很久以前👩‍🚀]]")
    assert without_stamps(b"".join(relayed)) == without_stamps(expected)


async def test_the_usage_is_told_to_who_asks_for_it_and_accounted_always(engine: EngineBalancer) -> None:
    told, kept = relay(engine, "hello", stream=True, **USAGE_WANTED), relay(engine, "hello", stream=True)
    with_usage, without = chunks(await streamed(told)), chunks(await streamed(kept))
    assert with_usage[-1]["choices"] == []
    assert len(without) == len(with_usage) - 1
    assert all(chunk["choices"] for chunk in without)
    used = with_usage[-1]["usage"]
    for cost in (await told.cost(), await kept.cost()):
        assert cost is not None
        assert (cost.input_tokens, cost.output_tokens) == (used["prompt_tokens"], used["completion_tokens"])


async def test_an_unstreamed_answer_is_the_engines_and_accounted(engine: EngineBalancer, scripted_url: str) -> None:
    relayed = relay(engine, "[[text=很久以前]]")
    answer = json.loads(await relayed.whole())
    assert answer["choices"][0]["message"]["content"] == "很久以前"
    cost = await relayed.cost()
    assert cost is not None
    assert cost.total_tokens == answer["usage"]["total_tokens"]
    assert "stream" not in last_request(scripted_url)["body"]


async def test_the_engine_gets_a_fixed_set_of_fields_within_its_context(
    engine: EngineBalancer, scripted_url: str
) -> None:
    await streamed(relay(engine, "hi", stream=True, seed=1, stop="x", user="u", metadata={"a": "b"}))
    body = last_request(scripted_url)["body"]
    assert set(body) == {
        "model", "messages", "temperature", "top_p", "repetition_penalty", "max_tokens", "seed", "stop", "stream",
        "stream_options", "cache_salt",
    }  # fmt: skip
    assert body["max_tokens"] == CONTEXT


async def test_users_do_not_share_a_prefix_cache_and_are_not_named(engine: EngineBalancer, scripted_url: str) -> None:
    salts = []
    for user in ("user_1", "user_1", "user_2"):
        await relay(engine, "hi", user=user).whole()
        asked = last_request(scripted_url)
        salts.append(asked["body"]["cache_salt"])
        assert "user_" not in json.dumps(asked)
    assert salts[0] == salts[1] != salts[2]


async def test_events_are_whole_however_the_network_cuts_them() -> None:
    stream = b': alive\n\ndata: {"a":"\xe5\xa4\xa7"}\r\n\r\nevent: x\ndata: 1\ndata: 2\n\ndata: half'

    async def byte_by_byte() -> AsyncIterator[bytes]:
        for position in range(len(stream)):
            yield stream[position : position + 1]

    events = [event async for event in whole_events(byte_by_byte())]
    assert [data_of(event) for event in events] == [b"", '{"a":"大"}'.encode(), b"1\n2"]
    assert b"".join(events) + b"data: half" == stream


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("directive", "error"), [("status=500", EngineFailed), ("status=503", Unavailable), ("status=400", EngineRefused)]
)
async def test_what_the_engine_has_not_taken_costs_nothing(
    engine: EngineBalancer, directive: str, error: type[Exception], stream: bool
) -> None:
    relayed = relay(engine, f"[[{directive}]] hello", stream=stream)
    with pytest.raises(error):
        await (streamed(relayed) if stream else relayed.whole())
    assert await relayed.cost() is None


@pytest.mark.parametrize("stream", [True, False])
async def test_a_prompt_too_long_is_told_with_both_numbers(engine: EngineBalancer, stream: bool) -> None:
    relayed = relay(engine, "word " * 5000, stream=stream)
    with pytest.raises(ContextLengthExceeded) as caught:
        await (streamed(relayed) if stream else relayed.whole())
    assert caught.value.param == "messages"
    assert caught.value.limit == CONTEXT
    assert caught.value.tokens is not None
    assert caught.value.tokens > CONTEXT
    assert await relayed.cost() is None


async def test_a_prompt_that_leaves_room_for_no_token_is_too_long_too(engine: EngineBalancer) -> None:
    """The engine has other words for it, without a number."""

    async def tokens(pairs: int) -> int:
        counted = await engine.tokenize((PromptMessage("user", "a b " * pairs),), OutputOptions(), affinity="user_1")
        assert counted is not None
        return counted.count

    pairs = 10 + (CONTEXT - await tokens(10)) // 2
    assert await tokens(pairs) == CONTEXT
    with pytest.raises(ContextLengthExceeded) as caught:
        await relay(engine, "a b " * pairs).whole()
    assert (caught.value.tokens, caught.value.limit) == (CONTEXT, CONTEXT)


@pytest.mark.parametrize("fault", ["error", "cut"])
async def test_an_answer_that_breaks_off_costs_at_least_what_was_passed_on(engine: EngineBalancer, fault: str) -> None:
    relayed = relay(engine, f"[[{fault}=after:5 tokens=50 pace=0.001]]", stream=True)
    passed_on: list[bytes] = []
    with pytest.raises(ParleyError):
        await follow(relayed, passed_on)
    cost = await relayed.cost()
    assert cost is not None
    assert cost.output_tokens == len(passed_on) - 1  # the first only tells the role
    assert cost.input_tokens > 0


class Listener:
    """A client of one request, at the end where the gateway's web server stands."""

    def __init__(self, relayed: ChatRelay, *, stream: bool, leaves_after: int | None = None) -> None:
        self._leaves_after = leaves_after
        self._gone = asyncio.Event()
        self.heard: list[Message] = []
        self.costs: list[Usage | None] = []
        self._response = RelayedResponse(relayed, stream=stream, when_over=self._account)
        self._relay = relayed

    async def listen(self) -> None:
        await self._response({"type": "http"}, self._receive, self._send)

    def leave(self) -> None:
        self._gone.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.heard)

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.heard.append(message)
        if len(self.heard) == self._leaves_after:
            self.leave()

    async def _account(self) -> None:
        self.costs.append(await self._relay.cost())


async def test_a_failure_in_the_middle_is_an_event_in_our_words(engine: EngineBalancer) -> None:
    listener = Listener(relay(engine, "[[error=after:3]] hello", stream=True), stream=True)
    await listener.listen()
    assert listener.heard[0]["status"] == 200
    *_, error, done = listener.body.removesuffix(b"\n\n").split(b"\n\n")
    assert json.loads(data_of(error))["error"] == {
        "type": "model_error",
        "code": "model_error",
        "message": "the model server failed in the middle of an answer",
        "param": None,
    }
    assert done == b"data: [DONE]"


async def test_a_failure_before_the_first_event_has_its_own_status(engine: EngineBalancer) -> None:
    listener = Listener(relay(engine, "[[error=after:0]] hello", stream=True), stream=True)
    with pytest.raises(EngineFailed):
        await listener.listen()
    assert listener.heard == []


async def gone_at_the_engine(url: str, text: str) -> dict[str, Any]:
    """The request as the engine knows it, once it does not run any more."""
    while True:
        asked = last_request(url)
        if asked["body"]["messages"][-1]["content"] == text and asked["state"] not in ("waiting", "running"):
            return asked
        await asyncio.sleep(0.01)


async def running_at_the_engine(url: str, text: str) -> None:
    while (asked := last_request(url))["body"]["messages"][-1]["content"] != text or asked["state"] != "running":
        await asyncio.sleep(0.01)


async def test_a_reader_that_leaves_stops_the_engine(engine: EngineBalancer, scripted_url: str) -> None:
    text = "[[tokens=3000 pace=0.02]] a reader that leaves"
    listener = Listener(relay(engine, text, stream=True), stream=True, leaves_after=5)
    await listener.listen()
    asked = await gone_at_the_engine(scripted_url, text)
    assert asked["state"] == "abandoned"
    assert asked["tokens"] < 100
    (cost,) = listener.costs
    assert cost is not None
    assert cost.output_tokens >= 3
    assert cost.input_tokens > 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reader_that_leaves_while_nothing_comes_stops_the_engine(
    engine: EngineBalancer, scripted_url: str, stream: bool
) -> None:
    text = f"[[tokens=3000 pace=0.02 first=60]] {'streamed' if stream else 'whole'}, and nothing comes"
    listener = Listener(relay(engine, text, stream=stream), stream=stream)
    listening = asyncio.create_task(listener.listen())
    await running_at_the_engine(scripted_url, text)
    listener.leave()
    await listening
    assert (await gone_at_the_engine(scripted_url, text))["state"] == "abandoned"
    assert listener.heard == []
    (cost,) = listener.costs
    assert cost is not None
    assert (cost.input_tokens > 0, cost.output_tokens) == (True, 0)


async def test_a_gateway_that_stops_leaves_nothing_running(engine: EngineBalancer, scripted_url: str) -> None:
    text = "[[tokens=3000 pace=0.02]] a gateway that stops"
    listening = asyncio.create_task(Listener(relay(engine, text), stream=False).listen())
    await running_at_the_engine(scripted_url, text)
    listening.cancel()
    await asyncio.wait([listening])
    assert (await gone_at_the_engine(scripted_url, text))["state"] == "abandoned"
