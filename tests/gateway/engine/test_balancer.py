"""Two scripted engines as one, over HTTP."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import httpx2
import openai
import pytest
from openai import DefaultAioHttpClient

from dev import engines as local
from dev.ports import free_ports
from dev.process import Process, all_ready
from dev.stack import ROOT
from gateway.engine.client import EngineClient
from gateway.errors import EngineFailed, EngineRefused, Unavailable
from gateway.inference import EngineEvent, PromptMessage, PromptTokens, TextDelta
from tests.gateway.engine.engine_pool_fixture import PLAIN, House, call, stream, watched, whole


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Process]]:
    logs = tmp_path_factory.mktemp("engines")
    found = [Process(local.scripted(port), logs / str(port), ROOT) for port in free_ports(2)]
    for process in found:
        process.start()
    assert len(list(all_ready(found))) == 2
    yield found
    for process in found:
        process.stop()


@pytest.fixture
async def house(processes: list[Process]) -> AsyncIterator[House]:
    urls = [f"http://127.0.0.1:{process.command.port}/v1" for process in processes]
    for url in urls:
        httpx2.delete(url.removesuffix("v1") + "script")
    async with watched(urls, connected) as found:
        await found.until_serving(2)
        yield found


def connected(url: str) -> EngineClient:
    client = openai.AsyncOpenAI(
        base_url=url, api_key="EMPTY", max_retries=0, http_client=DefaultAioHttpClient(timeout=5)
    )
    return EngineClient(client, dialect="vllm", server_key=b"k" * 32)


def asked(url: str, text: str) -> int:
    """How often that engine was."""
    bodies = [one["body"] for one in httpx2.get(f"{url}/requests").json()["data"]]
    return [body["messages"][-1]["content"] for body in bodies if "stream" in body and "messages" in body].count(text)


def script(url: str, line: str) -> None:
    httpx2.post(f"{url}/script", content=line).raise_for_status()


async def test_what_belongs_together_goes_to_one_engine_and_the_rest_is_spread(house: House) -> None:
    for number in range(8):
        for _ in range(3):
            await whole(stream(house.engines, f"[[text=yes]] spread {number}", f"conv_{number}"))
    first, second = ([asked(url[:-3], f"[[text=yes]] spread {number}") for number in range(8)] for url in house.urls)
    assert set(first) == set(second) == {0, 3}
    expected = [3 if house.ranked(f"conv_{number}")[0] == house.urls[0][:-3] else 0 for number in range(8)]
    assert first == expected


async def test_a_prompt_is_counted_where_it_will_be_read(house: House) -> None:
    first, second = house.ranked("conv_1")
    for url in (first, second):
        httpx2.delete(f"{url}/requests")
    await house.engines.tokenize((PromptMessage("user", "hi"),), PLAIN, affinity="conv_1")
    await house.engines.detokenize([104], affinity="conv_1")
    assert [one["path"] for one in httpx2.get(f"{first}/requests").json()["data"]] == ["/tokenize", "/detokenize"]
    assert httpx2.get(f"{second}/requests").json()["data"] == []


async def test_a_conversation_does_not_wait_for_a_crowd(house: House) -> None:
    first, second = house.ranked("conv_1")
    crowd = [stream(house.engines, f"[[tokens=3000 pace=0.02]] crowd {number}") for number in range(11)]
    for one in crowd:
        await anext(one)
    there = [asked(first, f"[[tokens=3000 pace=0.02]] crowd {number}") for number in range(11)]
    assert there == [1] * 10 + [0]
    assert asked(second, "[[tokens=3000 pace=0.02]] crowd 10") == 1
    for one in crowd:
        await one.aclose()
    await whole(stream(house.engines, "behind the crowd"))
    assert asked(first, "behind the crowd") == 1


async def test_an_engine_that_refuses_is_passed_over_put_aside_and_used_again(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = house.ranked("conv_1")
    script(first, "refuse=1 on=all")
    with caplog.at_level(logging.INFO):
        assert await whole(stream(house.engines, "[[text=said]] refused"))
        await house.until_serving(1)
        assert await whole(stream(house.engines, "[[text=said]] aside"))
        assert [asked(second, f"[[text=said]] {why}") for why in ("refused", "aside")] == [1, 1]
        httpx2.delete(f"{first}/script")
        await house.until_serving(2)
    assert await whole(stream(house.engines, "[[text=said]] back"))
    assert asked(first, "[[text=said]] back") == 1
    assert asked(first, "[[text=said]] aside") == 0
    told = [record.message for record in caplog.records if record.name == "gateway.engine.pool"]
    assert told[-2:] == ["an engine was ejected", "an engine serves"]


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_what_one_engine_is_too_busy_for_or_breaks_at_goes_to_the_next(house: House, status: int) -> None:
    first, second = house.ranked("conv_1")
    script(first, f"status={status}")
    assert await whole(stream(house.engines, f"[[text=said]] {status}")) == "said"
    assert [asked(url, f"[[text=said]] {status}") for url in (first, second)] == [1, 1]
    await house.until_serving(2)  # it serves, it only would not take this one


async def test_when_no_engine_takes_it_the_last_ones_reason_is_told(house: House) -> None:
    first, second = house.ranked("conv_1")
    script(first, "status=500")
    script(second, "status=503")
    with pytest.raises(Unavailable):
        await whole(stream(house.engines, "nobody"))
    script(second, "status=500")
    await house.until_serving(2)
    with pytest.raises(EngineFailed):
        await whole(stream(house.engines, "nobody at all"))


async def test_what_an_engine_refuses_is_not_asked_of_another(house: House) -> None:
    first, second = house.ranked("conv_1")
    script(first, "status=400")
    with pytest.raises(EngineRefused):
        await whole(stream(house.engines, "refused"))
    assert asked(second, "refused") == 0
    assert len(house.roster.serving) == 2


async def test_an_answer_that_is_cut_goes_on_at_once_by_its_ids_on_the_other(house: House) -> None:
    first, second = house.ranked("conv_1")
    events: list[EngineEvent] = []

    async def listen() -> None:
        async for event in stream(house.engines, "[[cut=after:4 text=很久以前，有一座灯塔]]"):
            events.append(event)  # noqa: PERF401 - what came before the cut is wanted

    with pytest.raises(Unavailable):
        await listen()
    assert house.engines.has_healthy
    (prompt,) = [event.token_ids for event in events if isinstance(event, PromptTokens)]
    said = [event for event in events if isinstance(event, TextDelta)]
    ids = [one for event in said for one in event.token_ids]
    rest = house.engines.stream(call("", token_ids=(*prompt, *ids)))
    assert "".join(event.text for event in said) + await whole(rest) == "很久以前，有一座灯塔"
    paths = [[one["path"] for one in httpx2.get(f"{url}/requests").json()["data"]] for url in (first, second)]
    assert ["/v1/completions" in those for those in paths] == [False, True]


async def test_an_engine_that_its_reader_gave_up_is_put_aside_and_one_that_is_stopped_is_not(house: House) -> None:
    first, _ = house.ranked("conv_1")

    async def give_up(text: str, after_seconds: float) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(whole(stream(house.engines, text)), after_seconds)

    await give_up("[[tokens=3000 pace=0.02]]", 0.2)
    assert len(house.roster.serving) == 2
    await give_up("[[tokens=3000 stall=after:2,for:60]]", 1)
    assert [one.address[:-3] for one in house.roster.serving] == [url for url in house.ranked("conv_1") if url != first]
    await house.until_serving(2)
