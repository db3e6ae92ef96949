"""Stop is real: from any tab, through any replica, the engine lets go, and what was shown stays."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from anyio.to_thread import run_sync
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection

from dev.stack import Plan, Stack
from tests.stack.conftest import House, ask, furnish, text_of, until_the_end

Event = dict[str, Any]

ENDINGS = {"response.completed", "response.incomplete", "response.failed"}

LONG = "[[tokens=3000 pace=0.01]]"
# So small a model comes to an end soon, unless it must not.
_LIST = {"type": "array", "items": {"type": "integer"}, "minItems": 1000}
ENDLESS = {"input": "count", "text": {"format": {"type": "json_schema", "name": "numbers", "schema": _LIST}}}
_SHOWN = 5


@dataclass
class Answer:
    """One that runs at replica 1; `tab` follows it at replica 2."""

    house: House
    conversation: str
    asker: ClientConnection
    tab: ClientConnection
    seen: list[Event]

    @property
    def id(self) -> str:
        return str(self.seen[0]["response"]["id"])

    async def endings(self) -> tuple[list[Event], list[Event]]:
        """All events, as the one who asked and the other tab have seen them."""
        there = asyncio.create_task(until_the_end(self.tab))
        return self.seen + await until_the_end(self.asker), await there


@asynccontextmanager
async def running(house: House, **asked: Any) -> AsyncGenerator[Answer]:
    conversation = await house.conversation(house.alice)
    async with AsyncExitStack() as open_:
        asker = await open_.enter_async_context(house.socket(house.alice, gateway=1))
        await asker.send(json.dumps({"type": "response.create", "conversation": conversation, **asked}))
        seen: list[Event] = []
        while sum(event["type"] == "response.output_text.delta" for event in seen) < _SHOWN:
            seen.append(json.loads(await asker.recv()))
            assert seen[-1]["type"] not in ENDINGS
        resume = f"resume={seen[0]['response']['id']}"
        tab = await open_.enter_async_context(house.socket(house.alice, gateway=2, query=resume))
        yield Answer(house, conversation, asker, tab, seen)


async def on_its_socket(answer: Answer) -> None:
    await answer.asker.send(json.dumps({"type": "response.cancel", "response_id": answer.id}))


async def in_another_tab_at_the_other_replica(answer: Answer) -> None:
    await answer.tab.send(json.dumps({"type": "response.cancel", "response_id": answer.id}))


async def over_http(answer: Answer) -> None:
    async with answer.house.client(answer.house.alice) as client:
        assert (await client.responses.cancel(answer.id)).status == "incomplete"


Stop = Callable[[Answer], Awaitable[None]]
everywhere = pytest.mark.parametrize("stop", [on_its_socket, in_another_tab_at_the_other_replica, over_http])


def at_work(house: House) -> int:
    """How many requests the engine says that it runs."""
    metrics = httpx2.get(f"{house.stack.engine_url.removesuffix('/v1')}/metrics").text
    return sum(int(float(line.split()[-1])) for line in metrics.splitlines() if _tells_of_running(line))


def _tells_of_running(line: str) -> bool:
    return line.startswith("vllm:num_requests_running")


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


@pytest.fixture(scope="module", params=["scripted", pytest.param("vllm", marks=pytest.mark.vllm)])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    engine = "scripted" if request.param == "scripted" else f"{request.getfixturevalue('vllm_url')}/v1"
    with Stack(Plan(tmp_path_factory.mktemp("stop"), engine=engine, gateway={"GATEWAY_TITLES": "off"})) as stack:
        yield furnish(stack)


@everywhere
async def test_the_engine_is_let_go_and_what_was_shown_is_kept(house: House, stop: Stop) -> None:
    asked = {"input": LONG} if house.stack.plan.engine == "scripted" else ENDLESS
    async with running(house, **asked) as answer:
        assert at_work(house) == 1
        await stop(answer)
        mine, others = await answer.endings()
        await until(lambda: at_work(house) == 0)
        assert mine == others
        ending = mine[-1]["response"]
        assert (ending["status"], ending["incomplete_details"]["reason"]) == ("incomplete", "cancelled")
        assert ending["incomplete_details"]["stopped_in_ms"] >= 0
        assert ending["usage"]["output_tokens"] >= _SHOWN
        kept = [(str(asked["input"]), "completed"), (text_of(mine), "incomplete")]
        assert [one[1:] for one in await house.items(house.alice, answer.conversation)] == kept
        await assert_that_another_stop_changes_nothing(answer, mine)


async def assert_that_another_stop_changes_nothing(answer: Answer, events: list[Event]) -> None:
    house, ending = answer.house, events[-1]["response"]
    items = await house.items(house.alice, answer.conversation)
    for stop in (on_its_socket, in_another_tab_at_the_other_replica, over_http):
        await stop(answer)
    for socket in (answer.asker, answer.tab):
        # The next that either hears is of the next answer.
        (first, *_) = await ask(socket, "hello", max_output_tokens=1)
        assert (first["type"], first["response"]["id"] != ending["id"]) == ("response.created", True)
    async with house.socket(house.alice, query=f"resume={ending['id']}") as socket:
        assert await until_the_end(socket) == events
    async with house.client(house.alice) as client:
        assert (await client.responses.retrieve(ending["id"])).to_dict(mode="json")["usage"] == ending["usage"]
    assert await house.items(house.alice, answer.conversation) == items


def asked_for(answer: Answer) -> list[tuple[str, str]]:
    """Path and state of what the engine has been asked for this answer."""
    asked = httpx2.get(f"{answer.house.stack.engine_url.removesuffix('/v1')}/requests").json()["data"]
    return [
        (one["path"], one["state"]) for one in asked if one["headers"].get("x-request-id", "").startswith(answer.id)
    ]


amid_faults = pytest.mark.parametrize("house", ["scripted"], indirect=True)


@amid_faults
async def test_an_answer_that_waits_for_an_engine_that_is_away_is_stopped_and_not_asked_for_later(house: House) -> None:
    engine, log = house.stack.engine(), house.stack.gateway(1).log
    async with running(house, input=f"{LONG} away") as answer:
        await run_sync(engine.kill)
        await until(lambda: any("waits" in line and answer.id in line for line in log.read_text().splitlines()))
        await in_another_tab_at_the_other_replica(answer)
        mine, others = await answer.endings()
        engine.start()
        await run_sync(engine.wait_ready)
        assert mine == others
        assert mine[-1]["response"]["incomplete_details"]["stopped_in_ms"] >= 0
        assert (await ask(answer.asker, "[[text=back]]"))[-1]["type"] == "response.completed"
        assert asked_for(answer) == []
        assert (await house.items(house.alice, answer.conversation))[1:] == [("assistant", text_of(mine), "incomplete")]


@amid_faults
async def test_a_stop_right_behind_the_death_of_the_owner_ends_it_and_the_engine_is_not_asked_again(
    house: House,
) -> None:
    owner, other = house.stack.gateway(1), house.stack.gateway(2).command.port
    async with running(house, input=f"{LONG} orphaned") as answer:
        await run_sync(owner.kill)
        async with AsyncOpenAI(base_url=f"http://127.0.0.1:{other}/v1", api_key=house.alice) as client:
            stopped = await client.responses.cancel(answer.id)
        events = await until_the_end(answer.tab)
        assert events[-1]["response"] == stopped.to_dict(mode="json")
        assert [one["sequence_number"] for one in events] == list(range(len(events)))
        assert [one["type"] in ENDINGS for one in events].count(True) == 1
        assert events[: len(answer.seen)] == answer.seen
        ending = events[-1]["response"]
        assert (ending["status"], ending["incomplete_details"]["reason"]) == ("incomplete", "cancelled")
        assert ending["incomplete_details"]["stopped_in_ms"] >= 0
        assert ending["usage"]["output_tokens"] >= _SHOWN
        assert asked_for(answer) == [("/v1/chat/completions", "abandoned")]
        owner.start()
        await run_sync(owner.wait_ready)
        assert (await house.items(house.alice, answer.conversation))[1:] == [
            ("assistant", text_of(events), "incomplete")
        ]
        async with house.socket(house.alice, gateway=1, query=f"resume={answer.id}") as socket:
            assert await until_the_end(socket) == events
