"""Two scripted engines behind one `balancer`, over HTTP."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import openai
import pytest
from openai import DefaultAioHttpClient

from dev import engine_commands as local
from dev.ports import free_ports
from dev.process import Process, as_ready
from dev.stack import ROOT
from gateway.engine.client import EngineClient
from gateway.errors import EngineFailed, EngineRefused, Unavailable
from gateway.inference import EngineEvent, PromptMessage, PromptTokens, TextDelta
from tests.gateway.engine.engine_pool_fixture import PLAIN, PoolUnderTest, call, running_pool, stream, text_of
from tests.gateway.engine.scripted_engine import clear_received, clear_script, received, script


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Process]]:
    logs = tmp_path_factory.mktemp("engines")
    found = [Process(local.scripted(port), logs / str(port), ROOT) for port in free_ports(2)]
    for process in found:
        process.start()
    assert len(list(as_ready(found))) == 2
    yield found
    for process in found:
        process.stop()


@pytest.fixture
async def engines(processes: list[Process]) -> AsyncIterator[PoolUnderTest]:
    urls = [f"http://127.0.0.1:{process.command.port}/v1" for process in processes]
    for url in urls:
        clear_script(url.removesuffix("/v1"))
    async with running_pool(urls, connect) as found:
        await found.until_healthy(2)
        yield found


def connect(url: str) -> EngineClient:
    client = openai.AsyncOpenAI(
        base_url=url, api_key="EMPTY", max_retries=0, http_client=DefaultAioHttpClient(timeout=5)
    )
    return EngineClient(client, dialect="vllm", server_key=b"k" * 32)


def chats(url: str, text: str) -> int:
    """How many chat requests with this text the engine has received."""
    bodies = [record["body"] for record in received(url)]
    return [body["messages"][-1]["content"] for body in bodies if "stream" in body and "messages" in body].count(text)


async def test_a_conversation_stays_on_one_engine_and_conversations_are_spread(engines: PoolUnderTest) -> None:
    texts = [f"[[pace=0 first=0 text=yes]] spread {number}" for number in range(8)]
    for number, text in enumerate(texts):
        for _ in range(3):
            await text_of(stream(engines.balancer, text, f"conv_{number}"))
    first, second = ([chats(url.removesuffix("/v1"), text) for text in texts] for url in engines.urls)
    assert set(first) == set(second) == {0, 3}
    expected = [3 if engines.ranked(f"conv_{number}")[0] == engines.urls[0][:-3] else 0 for number in range(8)]
    assert first == expected


async def test_a_prompt_is_tokenized_on_the_engine_that_will_read_it(engines: PoolUnderTest) -> None:
    first, second = engines.ranked("conv_1")
    for url in (first, second):
        clear_received(url)
    await engines.balancer.tokenize((PromptMessage("user", "hi"),), PLAIN, affinity="conv_1")
    await engines.balancer.detokenize([104], affinity="conv_1")
    assert [record["path"] for record in received(first)] == ["/tokenize", "/detokenize"]
    assert received(second) == []


async def test_a_conversation_leaves_an_overloaded_engine_and_returns(engines: PoolUnderTest) -> None:
    first, second = engines.ranked("conv_1")
    load = [stream(engines.balancer, f"[[tokens=3000 pace=0.02 first=0]] load {number}") for number in range(11)]
    for one in load:
        await anext(one)
    on_first = [chats(first, f"[[tokens=3000 pace=0.02 first=0]] load {number}") for number in range(11)]
    assert on_first == [1] * 10 + [0]
    assert chats(second, "[[tokens=3000 pace=0.02 first=0]] load 10") == 1
    for one in load:
        await one.aclose()
    await text_of(stream(engines.balancer, "after the load"))
    assert chats(first, "after the load") == 1


async def test_an_engine_that_refuses_connections_is_skipped_ejected_and_used_again(
    engines: PoolUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = engines.ranked("conv_1")
    script(first, "refuse=1 on=all")
    with caplog.at_level(logging.INFO):
        assert await text_of(stream(engines.balancer, "[[pace=0 text=said]] refused"))
        await engines.until_healthy(1)
        assert await text_of(stream(engines.balancer, "[[pace=0 text=said]] ejected"))
        assert [chats(second, f"[[pace=0 text=said]] {why}") for why in ("refused", "ejected")] == [1, 1]
        clear_script(first)
        await engines.until_healthy(2)
    assert await text_of(stream(engines.balancer, "[[pace=0 text=said]] back"))
    assert chats(first, "[[pace=0 text=said]] back") == 1
    assert chats(first, "[[pace=0 text=said]] ejected") == 0
    logged = [record.message for record in caplog.records if record.name == "gateway.engine.backend"]
    assert logged[-2:] == ["engine ejected", "engine is serving"]


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_request_that_one_engine_fails_or_rejects_as_busy_goes_to_the_next(
    engines: PoolUnderTest, status: int
) -> None:
    first, second = engines.ranked("conv_1")
    script(first, f"status={status}")
    assert await text_of(stream(engines.balancer, f"[[pace=0 text=said]] {status}")) == "said"
    assert [chats(url, f"[[pace=0 text=said]] {status}") for url in (first, second)] == [1, 1]
    await engines.until_healthy(2)  # it is healthy and rejected only this request


async def test_when_all_engines_fail_the_last_error_is_raised(engines: PoolUnderTest) -> None:
    first, second = engines.ranked("conv_1")
    script(first, "status=500")
    script(second, "status=503")
    with pytest.raises(Unavailable):
        await text_of(stream(engines.balancer, "all fail"))
    script(second, "status=500")
    await engines.until_healthy(2)
    with pytest.raises(EngineFailed):
        await text_of(stream(engines.balancer, "all fail again"))


async def test_a_request_that_one_engine_refuses_is_not_sent_to_another(engines: PoolUnderTest) -> None:
    first, second = engines.ranked("conv_1")
    script(first, "status=400")
    with pytest.raises(EngineRefused):
        await text_of(stream(engines.balancer, "refused"))
    assert chats(second, "refused") == 0
    assert len(engines.pool.healthy) == 2


async def test_an_answer_that_breaks_off_continues_at_once_from_its_token_ids_on_the_other(
    engines: PoolUnderTest,
) -> None:
    first, second = engines.ranked("conv_1")
    events: list[EngineEvent] = []

    async def collect() -> None:
        async for event in stream(engines.balancer, "[[cut=after:4 text=很久以前，有一座灯塔]]"):
            events.append(event)  # noqa: PERF401 - keeps the events before the failure

    with pytest.raises(Unavailable):
        await collect()
    assert engines.balancer.has_healthy
    (prompt,) = [event.token_ids for event in events if isinstance(event, PromptTokens)]
    deltas = [event for event in events if isinstance(event, TextDelta)]
    ids = [one for event in deltas for one in event.token_ids]
    rest = engines.balancer.stream(call("", token_ids=(*prompt, *ids)))
    assert "".join(event.text for event in deltas) + await text_of(rest) == "很久以前，有一座灯塔"
    paths = [[record["path"] for record in received(url)] for url in (first, second)]
    assert ["/v1/completions" in one for one in paths] == [False, True]


async def test_an_engine_that_stalls_until_its_reader_gives_up_is_ejected_and_one_that_is_stopped_early_is_not(
    engines: PoolUnderTest,
) -> None:
    first, _ = engines.ranked("conv_1")

    async def give_up(text: str, after_seconds: float) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(text_of(stream(engines.balancer, text)), after_seconds)

    await give_up("[[tokens=3000 pace=0.02]]", 0.2)
    assert len(engines.pool.healthy) == 2
    await give_up("[[tokens=3000 stall=after:2,for:60]]", 1)
    assert [one.address[:-3] for one in engines.pool.healthy] == [
        url for url in engines.ranked("conv_1") if url != first
    ]
    await engines.until_healthy(2)
