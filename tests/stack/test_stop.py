"""A stop from any tab and at any replica frees the engine and keeps the shown text."""

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
from tests.stack.conftest import Deployment, ask, create_users, receive_all, text_of

Event = dict[str, Any]

ENDINGS = {"response.completed", "response.incomplete", "response.failed"}

LONG = "[[tokens=3000 pace=0.01]]"
# So small a model ends its answer soon, unless it is prevented.
_LIST = {"type": "array", "items": {"type": "integer"}, "minItems": 1000}
ENDLESS = {"input": "count", "text": {"format": {"type": "json_schema", "name": "numbers", "schema": _LIST}}}
_SHOWN = 5


@dataclass
class Answer:
    """An answer that runs at replica 1; `tab` follows it at replica 2."""

    deployment: Deployment
    conversation: str
    asker: ClientConnection
    tab: ClientConnection
    seen: list[Event]

    @property
    def id(self) -> str:
        return str(self.seen[0]["response"]["id"])

    async def endings(self) -> tuple[list[Event], list[Event]]:
        """All events that the asking socket and the other tab received."""
        there = asyncio.create_task(receive_all(self.tab))
        return self.seen + await receive_all(self.asker), await there


@asynccontextmanager
async def running(deployment: Deployment, **asked: Any) -> AsyncGenerator[Answer]:
    conversation = await deployment.conversation(deployment.alice)
    async with AsyncExitStack() as open_:
        asker = await open_.enter_async_context(deployment.socket(deployment.alice, gateway=1))
        await asker.send(json.dumps({"type": "response.create", "conversation": conversation, **asked}))
        seen: list[Event] = []
        while sum(event["type"] == "response.output_text.delta" for event in seen) < _SHOWN:
            seen.append(json.loads(await asker.recv()))
            assert seen[-1]["type"] not in ENDINGS
        resume = f"resume={seen[0]['response']['id']}"
        tab = await open_.enter_async_context(deployment.socket(deployment.alice, gateway=2, query=resume))
        yield Answer(deployment, conversation, asker, tab, seen)


async def on_its_socket(answer: Answer) -> None:
    await answer.asker.send(json.dumps({"type": "response.cancel", "response_id": answer.id}))


async def in_another_tab_at_the_other_replica(answer: Answer) -> None:
    await answer.tab.send(json.dumps({"type": "response.cancel", "response_id": answer.id}))


async def over_http(answer: Answer) -> None:
    async with answer.deployment.client(answer.deployment.alice) as client:
        assert (await client.responses.cancel(answer.id)).status == "incomplete"


Stop = Callable[[Answer], Awaitable[None]]
everywhere = pytest.mark.parametrize("stop", [on_its_socket, in_another_tab_at_the_other_replica, over_http])


def running_requests(deployment: Deployment) -> int:
    """The number of running requests in the engine's metrics."""
    metrics = httpx2.get(f"{deployment.stack.engine_url.removesuffix('/v1')}/metrics").text
    return sum(int(float(line.split()[-1])) for line in metrics.splitlines() if _is_running_sample(line))


def _is_running_sample(line: str) -> bool:
    return line.startswith("vllm:num_requests_running")


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


@pytest.fixture(scope="module", params=["scripted", pytest.param("vllm", marks=pytest.mark.vllm)])
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    engine = "scripted" if request.param == "scripted" else f"{request.getfixturevalue('vllm_url')}/v1"
    with Stack(Plan(tmp_path_factory.mktemp("stop"), engine=engine, gateway={"GATEWAY_TITLES": "off"})) as stack:
        yield create_users(stack)


@everywhere
async def test_a_stop_frees_the_engine_and_keeps_the_shown_text(deployment: Deployment, stop: Stop) -> None:
    asked = {"input": LONG} if deployment.stack.plan.engine == "scripted" else ENDLESS
    async with running(deployment, **asked) as answer:
        assert running_requests(deployment) == 1
        await stop(answer)
        mine, others = await answer.endings()
        await until(lambda: running_requests(deployment) == 0)
        assert mine == others
        ending = mine[-1]["response"]
        assert (ending["status"], ending["incomplete_details"]["reason"]) == ("incomplete", "cancelled")
        assert ending["incomplete_details"]["stopped_in_ms"] >= 0
        assert ending["usage"]["output_tokens"] >= _SHOWN
        kept = [(str(asked["input"]), "completed"), (text_of(mine), "incomplete")]
        assert [one[1:] for one in await deployment.items(deployment.alice, answer.conversation)] == kept
        await assert_that_another_stop_changes_nothing(answer, mine)


async def assert_that_another_stop_changes_nothing(answer: Answer, events: list[Event]) -> None:
    deployment, ending = answer.deployment, events[-1]["response"]
    items = await deployment.items(deployment.alice, answer.conversation)
    for stop in (on_its_socket, in_another_tab_at_the_other_replica, over_http):
        await stop(answer)
    for socket in (answer.asker, answer.tab):
        # The next event on either socket belongs to the next answer.
        (first, *_) = await ask(socket, "hello", max_output_tokens=1)
        assert (first["type"], first["response"]["id"] != ending["id"]) == ("response.created", True)
    async with deployment.socket(deployment.alice, query=f"resume={ending['id']}") as socket:
        assert await receive_all(socket) == events
    async with deployment.client(deployment.alice) as client:
        assert (await client.responses.retrieve(ending["id"])).to_dict(mode="json")["usage"] == ending["usage"]
    assert await deployment.items(deployment.alice, answer.conversation) == items


def engine_requests(answer: Answer) -> list[tuple[str, str]]:
    """Path and state of the engine's requests for this answer."""
    asked = httpx2.get(f"{answer.deployment.stack.engine_url.removesuffix('/v1')}/requests").json()["data"]
    return [
        (one["path"], one["state"]) for one in asked if one["headers"].get("x-request-id", "").startswith(answer.id)
    ]


amid_faults = pytest.mark.parametrize("deployment", ["scripted"], indirect=True)


@amid_faults
async def test_an_answer_that_waits_for_an_engine_is_stopped_and_never_requested_again(
    deployment: Deployment,
) -> None:
    engine, log = deployment.stack.engine(), deployment.stack.gateway(1).log
    async with running(deployment, input=f"{LONG} away") as answer:
        await run_sync(engine.kill)
        await until(lambda: any("waits" in line and answer.id in line for line in log.read_text().splitlines()))
        await in_another_tab_at_the_other_replica(answer)
        mine, others = await answer.endings()
        engine.start()
        await run_sync(engine.wait_ready)
        assert mine == others
        assert mine[-1]["response"]["incomplete_details"]["stopped_in_ms"] >= 0
        assert (await ask(answer.asker, "[[text=back]]"))[-1]["type"] == "response.completed"
        assert engine_requests(answer) == []
        assert (await deployment.items(deployment.alice, answer.conversation))[1:] == [
            ("assistant", text_of(mine), "incomplete")
        ]


@amid_faults
async def test_a_stop_right_after_the_owners_death_ends_the_answer_without_another_engine_run(
    deployment: Deployment,
) -> None:
    owner, other = deployment.stack.gateway(1), deployment.stack.gateway(2).command.port
    async with running(deployment, input=f"{LONG} orphaned") as answer:
        await run_sync(owner.kill)
        async with AsyncOpenAI(base_url=f"http://127.0.0.1:{other}/v1", api_key=deployment.alice) as client:
            stopped = await client.responses.cancel(answer.id)
        events = await receive_all(answer.tab)
        assert events[-1]["response"] == stopped.to_dict(mode="json")
        assert [one["sequence_number"] for one in events] == list(range(len(events)))
        assert [one["type"] in ENDINGS for one in events].count(True) == 1
        assert events[: len(answer.seen)] == answer.seen
        ending = events[-1]["response"]
        assert (ending["status"], ending["incomplete_details"]["reason"]) == ("incomplete", "cancelled")
        assert ending["incomplete_details"]["stopped_in_ms"] >= 0
        assert ending["usage"]["output_tokens"] >= _SHOWN
        assert engine_requests(answer) == [("/v1/chat/completions", "abandoned")]
        owner.start()
        await run_sync(owner.wait_ready)
        assert (await deployment.items(deployment.alice, answer.conversation))[1:] == [
            ("assistant", text_of(events), "incomplete")
        ]
        async with deployment.socket(deployment.alice, gateway=1, query=f"resume={answer.id}") as socket:
            assert await receive_all(socket) == events
