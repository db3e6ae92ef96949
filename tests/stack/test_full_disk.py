"""The disk of Redis fills up (`secrets/start-redis.sh`): new data is refused, everything else goes on."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anyio.to_thread import run_sync
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from dev.process import Process
from dev.stack import Plan, Stack
from tests.chaos.disk import Disk
from tests.stack.conftest import Deployment, create_users, receive_all, text_of
from tests.stack.plain_client import api
from tests.stack.strict_client import MODEL

KEPT = {"model": MODEL, "input": "[[text=a lighthouse]]"}


@pytest.fixture
def deployment(disk: Disk, tmp_path: Any) -> Iterator[Deployment]:
    stack = Stack(Plan(tmp_path, gateways=1, gateway={"GATEWAY_TITLES": "off"}))
    redis = stack.processes["redis"]
    redis.command = replace(redis.command, environment={})  # with a ballast, as in the product
    with stack:
        yield create_users(stack)


def is_refused(answer: httpx2.Response) -> bool:
    return answer.status_code == 503 and answer.json()["error"]["code"] == "storage_full"


async def conversation(http: httpx2.AsyncClient) -> str:
    made = await http.post("/conversations", json={})
    return str(made.raise_for_status().json()["id"])


async def fill(client: Redis) -> list[str]:
    """The names of the keys that it has stored, until Redis refuses one."""
    names: list[str] = []
    while True:
        try:
            await client.set(f"filler:{len(names)}", os.urandom(2**20))
        except OutOfMemoryError:
            return names
        names.append(f"filler:{len(names)}")
        await asyncio.sleep(0.05)  # slower than the guard looks


def guard_of(redis: Process) -> int:
    """The shell beside Redis is its only child."""
    [guard] = Path(f"/proc/{redis.pid}/task/{redis.pid}/children").read_text().split()
    return int(guard)


async def until_accepted(http: httpx2.AsyncClient) -> None:
    while is_refused(answer := await http.post("/responses", json=KEPT)):
        await asyncio.sleep(0.1)
    answer.raise_for_status()


async def refuse_soon(http: httpx2.AsyncClient) -> None:
    while not is_refused(await http.post("/conversations", json={})):
        await asyncio.sleep(0.1)


async def test_data_fills_the_disk_and_deleting_it_makes_room(deployment: Deployment) -> None:
    redis = deployment.stack.processes["redis"]
    async with api(deployment, deployment.alice) as http, Redis.from_url(deployment.stack.redis_admin_url) as client:
        kept, deleted = await conversation(http), await conversation(http)
        (await http.post("/responses", json={**KEPT, "conversation": kept})).raise_for_status()
        names = await fill(client)
        assert is_refused(await http.post("/responses", json={**KEPT, "conversation": kept}))
        items = (await http.get(f"/conversations/{kept}/items")).raise_for_status().json()["data"]
        assert len(items) == 2
        (await http.delete(f"/conversations/{deleted}")).raise_for_status()
        await client.delete(*names)
        await until_accepted(http)
        assert (await http.get(f"/conversations/{kept}/items")).json()["data"] == items
    assert redis.running


async def test_an_answer_waits_while_something_else_fills_the_disk(deployment: Deployment, disk: Disk) -> None:
    redis = deployment.stack.processes["redis"]
    async with api(deployment, deployment.alice) as http:
        within = await conversation(http)
        async with deployment.socket(deployment.alice, gateway=1) as socket:
            ask = {"type": "response.create", "input": "[[tokens=400 pace=0.01]]", "conversation": within}
            await socket.send(json.dumps(ask))
            first = json.loads(await socket.recv())
            await run_sync(disk.leave, 40 * 2**20)
            await refuse_soon(http)
            readable = (await http.get(f"/conversations/{within}/items")).raise_for_status()
            disk.empty()
            events = [first, *await receive_all(socket)]
        assert readable.json()["data"]
        assert events[-1]["type"] == "response.completed"
        assert [one["sequence_number"] for one in events] == list(range(len(events)))
        assert text_of(events) == events[-1]["response"]["output"][0]["content"][0]["text"]
        await until_accepted(http)
    assert redis.running


async def test_after_a_disk_that_filled_at_once_redis_starts_and_deletes(deployment: Deployment, disk: Disk) -> None:
    """Faster than the guard. The container of Redis restarts by itself; here the test starts it."""
    redis = deployment.stack.processes["redis"]
    async with api(deployment, deployment.alice) as http:
        within = await conversation(http)
        (await http.post("/responses", json={**KEPT, "conversation": within})).raise_for_status()
        async with Redis.from_url(deployment.stack.redis_admin_url) as client:
            os.kill(guard_of(redis), signal.SIGSTOP)
            await run_sync(disk.fill)
            with pytest.raises(RedisConnectionError):
                await client.set("parley:one-more", "x" * 2**20)
        while redis.exit_code is None:
            await asyncio.sleep(0.02)
        redis.start()
        await run_sync(redis.wait_ready)
        await refuse_soon_when_ready(http)
        assert (await http.get(f"/conversations/{within}/items")).raise_for_status().json()["data"]
        (await http.delete(f"/conversations/{within}")).raise_for_status()
        assert (await http.get(f"/conversations/{within}")).status_code == 404
        disk.empty()
        await until_accepted(http)


async def refuse_soon_when_ready(http: httpx2.AsyncClient) -> None:
    while (await http.get("/conversations")).status_code != 200:
        await asyncio.sleep(0.05)
    await refuse_soon(http)
