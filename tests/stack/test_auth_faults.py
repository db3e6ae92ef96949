"""The auth-service dies, restarts or hangs: open chats continue, no one is admitted by mistake, and it recovers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest
from anyio.to_thread import run_sync
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from dev.process import Process
from dev.stack import Plan, Stack
from gateway.identity.identity import CACHED_SECONDS
from tests.stack.accounts import create_accounts
from tests.stack.conftest import PASSWORD, Deployment, ask, create_users, receive_all, text_of

LONG = "[[tokens=150 pace=0.02]]"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Stack(Plan(tmp_path_factory.mktemp("faults"), gateways=2)) as stack:
        yield create_users(stack)


@pytest.fixture
def auth(deployment: Deployment) -> Process:
    return deployment.stack.processes["auth-service"]


@pytest.fixture
async def http(deployment: Deployment) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=deployment.stack.url, timeout=60) as client:
        yield client


async def restore(process: Process) -> None:
    """From this thread: the kernel ends a child when the thread that started it ends."""
    if process.running:
        process.resume()
    else:
        process.start()
        await run_sync(process.wait_ready)


async def login(http: httpx2.AsyncClient) -> httpx2.Response:
    return await http.post("/auth/login", json={"username": "carol", "password": PASSWORD})


async def until_first_delta(socket: ClientConnection, text: str) -> list[dict[str, Any]]:
    """The events up to the first delta."""
    await socket.send(json.dumps({"type": "response.create", "input": text}))
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["type"] != "response.output_text.delta":
        seen.append(json.loads(await socket.recv()))
    return seen


async def answer_after_cache(http: httpx2.AsyncClient, key: str) -> httpx2.Response:
    """The first answer that does not come from the gateways' cache."""
    while True:
        answer = await http.get("/v1/conversations", headers={"Authorization": f"Bearer {key}"})
        if answer.status_code != 200:
            return answer
        await asyncio.sleep(CACHED_SECONDS / 20)


@pytest.mark.parametrize("fault", [Process.kill, Process.stop, Process.pause], ids=["killed", "stopped", "frozen"])
async def test_open_chats_continue_no_new_client_is_admitted_and_everything_recovers(
    deployment: Deployment, auth: Process, http: httpx2.AsyncClient, fault: Callable[[Process], None]
) -> None:
    gateways = [deployment.stack.gateway(number).pid for number in (1, 2)]
    async with deployment.socket(deployment.alice, gateway=1) as socket:
        seen = await until_first_delta(socket, LONG)
        fault(auth)
        refused = asyncio.create_task(login(http))
        seen += await receive_all(socket)
        assert seen[-1]["type"] == "response.completed"
        assert [event["sequence_number"] for event in seen] == list(range(len(seen)))

        closed = await answer_after_cache(http, deployment.bob)
        assert (closed.status_code, closed.json()["error"]["code"]) == (503, "service_unavailable")
        assert int(closed.headers["retry-after"]) >= 1
        with pytest.raises(InvalidStatus) as handshake:
            await deployment.socket("pk_" + "a" * 43)
        assert handshake.value.response.status_code == 503
        no_login = await refused
        assert (no_login.status_code, no_login.json()["error"]["code"]) == (503, "unavailable")
        assert int(no_login.headers["retry-after"]) >= 1
        assert "set-cookie" not in no_login.headers

        await restore(auth)
        assert (await login(http)).status_code == 200
        again = await ask(socket, LONG)
        assert text_of(again) == text_of(seen)
    async with deployment.socket(deployment.bob, gateway=2) as bob_api:
        assert (await ask(bob_api, "hello"))[-1]["type"] == "response.completed"
    assert [deployment.stack.gateway(number).pid for number in (1, 2)] == gateways
    assert "Traceback" not in auth.log.read_text()


async def test_a_user_who_is_deleted_while_no_gateway_runs_is_erased_when_one_starts(
    deployment: Deployment, http: httpx2.AsyncClient
) -> None:
    cookie = deployment.log_in("carol", PASSWORD)
    carol = (await http.get("/auth/me", headers={"Cookie": cookie})).json()["id"]
    [key] = create_accounts(deployment.stack, {}, keys=["carol"])
    async with deployment.socket(key) as socket:
        await ask(socket, "hello")
    for number in (1, 2):
        deployment.stack.gateway(number).kill()
    body = {"current_password": PASSWORD}
    gone = await http.request("DELETE", "/auth/me", json=body, headers={"Cookie": cookie})
    assert gone.status_code == 204
    for number in (1, 2):
        await restore(deployment.stack.gateway(number))
    async with Redis.from_url(deployment.stack.redis_admin_url) as redis:
        while [key async for key in redis.scan_iter(match=f"*{carol}*")]:
            await asyncio.sleep(0.1)
