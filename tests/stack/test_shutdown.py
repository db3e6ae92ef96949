"""Running answers when their gateway is stopped."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anyio.to_thread import run_sync
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from dev.stack import Plan, Stack
from tests.stack.conftest import Deployment, create_users, receive_all, text_of


def group_exists(number: int) -> bool:
    """With any process, also an orphaned worker."""
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


async def rest_of(socket: ClientConnection) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    try:
        while True:
            events.append(json.loads(await socket.recv()))
    except ConnectionClosed:
        return events


def started(folder: Path) -> Iterator[Deployment]:
    with Stack(Plan(folder, gateways=2, gateway={"GATEWAY_DRAIN_SECONDS": "1"})) as stack:
        yield create_users(stack)


@pytest.fixture
def own_deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    yield from started(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def shared_deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    yield from started(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def restored_deployment(shared_deployment: Deployment) -> Deployment:
    """All of its processes run: what the test before stopped is started again."""
    stopped = [one for one in shared_deployment.stack.processes.values() if not one.running]
    for process in stopped:
        process.start()
    for process in stopped:
        process.wait_ready()
    return shared_deployment


async def test_an_answer_continues_elsewhere_when_its_gateway_is_stopped(restored_deployment: Deployment) -> None:
    deployment, text = restored_deployment, " ".join(f"line {number}, 第{number}行;" for number in range(60))
    seen: list[dict[str, Any]] = []
    async with deployment.socket(deployment.alice, gateway=1) as socket:
        await socket.send(json.dumps({"type": "response.create", "input": f"[[pace=0.02 text={text}]]"}))
        while not seen or seen[-1]["type"] != "response.output_text.delta":
            seen.append(json.loads(await socket.recv()))
        deployment.stack.gateway(1).request_stop()
        seen += await rest_of(socket)
        assert socket.close_code == 1012
    resume = f"resume={seen[0]['response']['id']}&starting_after={seen[-1]['sequence_number']}"
    async with deployment.socket(deployment.alice, gateway=2, query=resume) as socket:
        seen += await receive_all(socket)
    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    assert text_of(seen) == text
    assert seen[-1]["type"] == "response.completed"
    await run_sync(deployment.stack.gateway(1).stop)  # waits for its exit


async def test_a_lone_gateway_finishes_a_short_answer_before_it_exits(restored_deployment: Deployment) -> None:
    deployment = restored_deployment
    deployment.stack.gateway(2).stop()
    mine = await deployment.conversation(deployment.alice)
    async with deployment.socket(deployment.alice, gateway=1) as socket:
        create = {"type": "response.create", "conversation": mine, "input": "[[pace=0.05 text=to the end]]"}
        await socket.send(json.dumps(create))
        while json.loads(await socket.recv())["type"] != "response.output_text.delta":
            pass
        await run_sync(deployment.stack.gateway(1).stop)
    await run_sync(deployment.stack.gateway(2).restart)
    assert (await deployment.items(deployment.alice, mine))[1] == ("assistant", "to the end", "completed")


async def test_a_long_answer_waits_for_the_next_start_when_all_gateways_stop(restored_deployment: Deployment) -> None:
    deployment, text = restored_deployment, "and so on." + " and so on." * 99
    mine = await deployment.conversation(deployment.alice)
    async with deployment.socket(deployment.alice, gateway=1) as socket:
        create = {"type": "response.create", "conversation": mine, "input": f"[[pace=0.02 text={text}]]"}
        await socket.send(json.dumps(create))
        first = json.loads(await socket.recv())
        while json.loads(await socket.recv())["type"] != "response.output_text.delta":
            pass
        deployment.stack.gateway(2).stop()
        await run_sync(deployment.stack.gateway(1).stop)
    await run_sync(deployment.stack.gateway(2).restart)
    async with deployment.socket(deployment.alice, gateway=2, query=f"resume={first['response']['id']}") as socket:
        events = await receive_all(socket)
    assert text_of(events) == text
    assert (await deployment.items(deployment.alice, mine))[1] == ("assistant", text, "completed")


async def test_answers_survive_a_simultaneous_stop_of_all_gateways(restored_deployment: Deployment) -> None:
    """Both have turns and release them, and neither may take over the other's."""
    deployment, text = restored_deployment, " ".join(f"line {number}, 第{number}行;" for number in range(30))
    async with deployment.client(deployment.alice) as client:
        asked = [
            await client.responses.create(input=f"[[pace=0.02 text={text}]]", model="parley-demo", background=True)
            for _ in range(4)
        ]
        gateways = [deployment.stack.gateway(number) for number in (1, 2)]
        for gateway in gateways:
            gateway.request_stop()
        for gateway in gateways:
            await run_sync(gateway.restart)
        answers = []
        for one in asked:
            async with deployment.socket(deployment.alice, gateway=1, query=f"resume={one.id}") as socket:
                answers.append(text_of(await receive_all(socket)))
    assert answers == [text] * 4


async def test_all_gateways_store_their_running_answers_when_everything_stops(own_deployment: Deployment) -> None:
    deployment = own_deployment
    async with (
        deployment.socket(deployment.alice, gateway=1) as one,
        deployment.socket(deployment.alice, gateway=2) as two,
    ):
        for socket in (one, two):
            await socket.send(json.dumps({"type": "response.create", "input": "[[tokens=3000 pace=0.02]]"}))
            while json.loads(await socket.recv())["type"] != "response.output_text.delta":
                pass
        await run_sync(deployment.stack.stop)
        for socket in (one, two):
            await rest_of(socket)
            assert socket.close_code == 1012
    assert {name: process.exit_code for name, process in deployment.stack.processes.items() if process.exit_code} == {}


def test_everything_stops_cleanly_and_leaves_no_process(tmp_path_factory: pytest.TempPathFactory) -> None:
    stack = Stack(Plan(tmp_path_factory.mktemp("clean")))
    stack.start()
    groups = {one.name: one.pid for one in stack.processes.values()}
    stack.stop()
    assert len(groups) == 6
    assert [name for name, group in groups.items() if group_exists(group)] == []
    for name, process in stack.processes.items():
        assert process.exit_code == 0, f"{name}: {process.last_lines()}"


def test_any_number_of_engines_and_gateways_may_run_and_each_can_be_paused_and_killed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with Stack(Plan(tmp_path_factory.mktemp("many"), engines=2, gateways=3)) as stack:
        assert [name for name in stack.processes if name.startswith("scripted-engine")] == [
            "scripted-engine-1",
            "scripted-engine-2",
        ]
        second = stack.engine(2)
        health = f"http://127.0.0.1:{second.command.port}/health"
        second.pause()
        with pytest.raises(httpx2.TimeoutException):
            httpx2.get(health, timeout=0.5)
        second.resume()
        assert httpx2.get(health).status_code == 200
        second.kill()
        assert not second.running
        second.start()
        second.wait_ready()
        assert httpx2.get(health).status_code == 200
        assert httpx2.get(f"http://127.0.0.1:{stack.gateway(3).command.port}/readyz").status_code == 200
