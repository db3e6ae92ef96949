"""What happens to a running answer when its gateway is asked to go."""

import json
import os
from collections.abc import Iterator

import httpx2
import pytest
from anyio.to_thread import run_sync
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from dev.stack import Plan, Stack
from tests.stack.conftest import House, furnish


def group_exists(number: int) -> bool:
    """With any process: an orphaned worker too."""
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


async def rest_of(socket: ClientConnection) -> str:
    shown = ""
    try:
        while True:
            shown += json.loads(await socket.recv()).get("delta", "")
    except ConnectionClosed:
        return shown


@pytest.fixture
def own_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    plan = Plan(tmp_path_factory.mktemp("own"), gateways=2, gateway={"GATEWAY_DRAIN_SECONDS": "1"})
    with Stack(plan) as stack:
        yield furnish(stack)


async def test_a_gateway_that_is_asked_to_go_says_1012_and_keeps_what_was_shown(own_house: House) -> None:
    house = own_house
    mine = await house.conversation(house.alice)
    shown = ""
    async with house.socket(house.alice, gateway=1) as socket:
        create = {"type": "response.create", "conversation": mine, "input": "[[tokens=3000 pace=0.02]]"}
        await socket.send(json.dumps(create))
        while len(shown) < 10:
            shown += json.loads(await socket.recv()).get("delta", "")
        house.stack.gateway(1).stop()
        shown += await rest_of(socket)
        assert socket.close_code == 1012
    _, kept, status = (await house.items(house.alice, mine))[1]
    assert kept.startswith(shown)
    assert status == "incomplete"


async def test_a_short_answer_is_finished_before_the_gateway_goes(own_house: House) -> None:
    house = own_house
    mine = await house.conversation(house.alice)
    async with house.socket(house.alice, gateway=1) as socket:
        create = {"type": "response.create", "conversation": mine, "input": "[[pace=0.05 text=to the end]]"}
        await socket.send(json.dumps(create))
        while json.loads(await socket.recv())["type"] != "response.output_text.delta":
            pass
        house.stack.gateway(1).stop()
    assert (await house.items(house.alice, mine))[1] == ("assistant", "to the end", "completed")


async def test_all_gateways_save_what_they_run_when_everything_stops(own_house: House) -> None:
    house = own_house
    async with house.socket(house.alice, gateway=1) as one, house.socket(house.alice, gateway=2) as two:
        for socket in (one, two):
            await socket.send(json.dumps({"type": "response.create", "input": "[[tokens=3000 pace=0.02]]"}))
            while json.loads(await socket.recv())["type"] != "response.output_text.delta":
                pass
        await run_sync(house.stack.stop)
        for socket in (one, two):
            await rest_of(socket)
            assert socket.close_code == 1012
    assert {name: process.exit_code for name, process in house.stack.processes.items() if process.exit_code} == {}


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
