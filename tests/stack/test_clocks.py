"""Two gateways whose clocks are an hour apart (`gateway.store.clock`, `gateway.store.turn_log.commands`)."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI

from dev.stack import Plan, Stack
from tests.stack.conftest import Deployment, create_users, receive_all
from tests.stack.plain_client import api

_HOUR_SECONDS = 3600
_LONG = "[[tokens=3000 pace=0.01]]"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The clock of the second gateway is an hour ahead."""
    stack = Stack(Plan(tmp_path_factory.mktemp("clocks"), gateway={"GATEWAY_TITLES": "off"}))
    ahead = stack.gateway(2)
    ahead.command = replace(ahead.command, arguments=[sys.executable, "-m", "tests.stack.hour_ahead"])
    with stack:
        yield create_users(stack)


def client_of(deployment: Deployment, gateway: int) -> AsyncOpenAI:
    port = deployment.stack.gateway(gateway).command.port
    return AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=deployment.alice, max_retries=0)


async def created_at(deployment: Deployment, gateway: int) -> int:
    async with client_of(deployment, gateway) as client:
        return int((await client.responses.create(model="parley-demo", input="[[text=now]]")).created_at)


async def test_the_clocks_are_an_hour_apart(deployment: Deployment) -> None:
    first, second = await created_at(deployment, 1), await created_at(deployment, 2)
    assert abs(second - first - _HOUR_SECONDS) < _HOUR_SECONDS / 2


@pytest.mark.parametrize(("owner", "other"), [(1, 2), (2, 1)])
async def test_a_cancel_at_the_other_gateway_is_timed_by_one_clock(
    deployment: Deployment, owner: int, other: int
) -> None:
    async with deployment.socket(deployment.alice, gateway=owner) as socket, client_of(deployment, other) as client:
        await socket.send(json.dumps({"type": "response.create", "input": _LONG}))
        response_id = json.loads(await socket.recv())["response"]["id"]
        asked_at = time.monotonic()
        stopped = (await client.responses.cancel(response_id)).to_dict(mode="json")
        waited_ms = (time.monotonic() - asked_at) * 1000
        assert (await receive_all(socket))[-1]["response"] == stopped
    details: Any = stopped["incomplete_details"]
    assert details["reason"] == "cancelled"
    assert 0 <= details["stopped_in_ms"] <= waited_ms


async def test_conversations_are_listed_by_their_last_activity_at_either_gateway(deployment: Deployment) -> None:
    async with api(deployment, deployment.alice) as http:
        used = []
        for gateway in (2, 1, 2, 1):
            port = deployment.stack.gateway(gateway).command.port
            http.base_url = httpx2.URL(f"http://127.0.0.1:{port}/v1")
            made = (await http.post("/conversations", json={})).raise_for_status().json()["id"]
            body = {"model": "parley-demo", "conversation": made, "input": "[[text=hello]]"}
            (await http.post("/responses", json=body)).raise_for_status()
            used.append(made)
        listed = (await http.get("/conversations")).json()["data"]
    assert [one["id"] for one in listed][: len(used)] == used[::-1]
