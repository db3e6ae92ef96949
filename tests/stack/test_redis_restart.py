"""Redis restarts with the users of the product, and everything that was acknowledged can be read back."""

import asyncio
from collections.abc import Callable, Iterator

import httpx2
import pytest
from anyio.to_thread import run_sync

from dev.process import Process
from dev.stack import Plan, Stack
from tests.stack.conftest import Deployment, create_users
from tests.stack.plain_client import api
from tests.stack.strict_client import MODEL


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    settings = {"GATEWAY_TITLES": "off"}
    with Stack(Plan(tmp_path_factory.mktemp("restart"), gateways=1, gateway=settings)) as stack:
        yield create_users(stack)


async def write(http: httpx2.AsyncClient) -> list[str]:
    """The addresses of a conversation and of a response in it, in every form in which they can be read."""
    made = await http.post("/conversations", json={"metadata": {"title": "灯塔"}})
    conversation_id = made.raise_for_status().json()["id"]
    body = {"model": MODEL, "conversation": conversation_id, "input": "[[text=a lighthouse]]"}
    response_id = (await http.post("/responses", json=body)).raise_for_status().json()["id"]
    conversation, response = f"/conversations/{conversation_id}", f"/responses/{response_id}"
    return ["/conversations", conversation, f"{conversation}/items", response, f"{response}?stream=true"]


async def read(http: httpx2.AsyncClient, paths: list[str]) -> dict[str, tuple[int, str]]:
    answers = {path: await http.get(path) for path in paths}
    return {path: (answer.status_code, answer.text) for path, answer in answers.items()}


async def ready(process: Process) -> None:
    while True:
        try:
            if await run_sync(process.command.ready):
                return
        except OSError:
            pass
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("end", [Process.kill, Process.stop])
async def test_a_conversation_and_its_response_are_read_back(
    deployment: Deployment, end: Callable[[Process], None]
) -> None:
    redis = deployment.stack.processes["redis"]
    async with api(deployment, deployment.alice) as http:
        paths = await write(http)
        before = await read(http, paths)
        assert {status for status, _ in before.values()} == {200}
        await run_sync(end, redis)
        redis.start()  # from this thread: the kernel ends a child when the thread that started it ends
        await run_sync(redis.wait_ready)
        await ready(deployment.stack.gateway(1))
        assert await read(http, paths) == before
    assert "NOPERM" not in redis.log.read_text()
