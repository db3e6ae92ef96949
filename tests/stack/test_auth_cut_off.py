"""The network between the gateways and the auth-service is cut: connections stay open, but no byte arrives."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import httpx2
import pytest
from anyio.to_thread import run_sync
from websockets.exceptions import InvalidStatus

from dev.process import as_ready
from dev.stack import Plan, Stack
from gateway.identity import CACHED_SECONDS
from tests.chaos.proxy import Proxy
from tests.stack.conftest import PASSWORD, Deployment, ask, receive_all, text_of, wait_until_generating

LONG = "[[tokens=250 pace=0.02]]"


@dataclass(frozen=True)
class ProxiedStack:
    deployment: Deployment
    proxy: Proxy


@pytest.fixture(scope="module")
async def proxied(anyio_backend: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ProxiedStack]:
    async with Proxy() as proxy:
        plan = Plan(
            tmp_path_factory.mktemp("cut"), gateways=1, gateway={"GATEWAY_AUTH_URL": f"http://127.0.0.1:{proxy.port}"}
        )
        stack = Stack(plan)
        proxy.target = stack.processes["auth-service"].command.port
        try:
            # Started in this thread and awaited in another, because the proxy runs in this event loop.
            for process in stack.processes.values():
                process.start()
            await run_sync(lambda: list(as_ready(stack.processes.values())))
            for name in ("alice", "bob"):
                await run_sync(stack.add_user, name, PASSWORD)
            yield ProxiedStack(
                Deployment(stack, await run_sync(stack.add_key, "alice"), await run_sync(stack.add_key, "bob")), proxy
            )
        finally:
            await run_sync(stack.stop)


async def test_an_open_answer_continues_and_no_new_client_is_admitted(proxied: ProxiedStack) -> None:
    deployment, proxy = proxied.deployment, proxied.proxy
    session = await run_sync(deployment.log_in, "bob", PASSWORD)
    strangers = [
        {"Authorization": f"Bearer {deployment.bob}"},
        {"Authorization": "Bearer pk_" + "a" * 43},
        {"Cookie": session},
    ]
    async with (
        httpx2.AsyncClient(base_url=deployment.stack.url, timeout=60) as http,
        deployment.socket(deployment.alice) as socket,
    ):
        await socket.send(json.dumps({"type": "response.create", "input": LONG}))
        await wait_until_generating(deployment, LONG)
        proxy.stall()
        proxy.forget()
        refused = await asyncio.gather(*(http.get("/v1/conversations", headers=one) for one in strangers))
        assert [(one.status_code, one.json()["error"]["code"]) for one in refused] == [(503, "service_unavailable")] * 3
        assert all(int(one.headers["retry-after"]) >= 1 for one in refused)
        with pytest.raises(InvalidStatus) as handshake:
            await deployment.socket(deployment.bob)
        assert handshake.value.response.status_code == 503

        seen = await receive_all(socket)
        assert seen[-1]["type"] == "response.completed"
        assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
        while (last := (await ask(socket, "hello"))[-1])["type"] == "response.completed":
            await asyncio.sleep(CACHED_SECONDS / 20)
        assert (last["status"], last["error"]["code"]) == (503, "service_unavailable")

        proxy.restore()
        assert text_of(await ask(socket, LONG)) == text_of(seen)
        assert (await http.get("/v1/conversations", headers=strangers[0])).status_code == 200
