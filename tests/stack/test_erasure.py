"""Nothing of a deleted user remains in Redis, also of an answer that ran at that moment."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from redis.asyncio import Redis

from tests.stack.accounts import create_accounts
from tests.stack.conftest import PASSWORD, Deployment, ask


@pytest.fixture
async def redis(deployment: Deployment) -> AsyncIterator[Redis]:
    async with Redis.from_url(deployment.stack.redis_admin_url) as client:
        yield client


async def keys_of(redis: Redis, user_id: str) -> list[str]:
    return [key.decode() async for key in redis.scan_iter(match=f"*{user_id}*")]


async def wait_until_erased(redis: Redis, deployment: Deployment, user_id: str) -> None:
    """Waits until the gateways confirm the erasure, and checks that they do not confirm it too early."""
    credential = (deployment.stack.plan.directory / "secrets/introspection_credential").read_text()
    port = deployment.stack.processes["auth-service"].command.port
    headers = {"Authorization": f"Bearer {credential}"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as http:
        while user_id in (await http.get("/deletions")).text:
            await asyncio.sleep(0.2)
    assert await keys_of(redis, user_id) == []


async def test_nothing_remains_of_a_user_who_is_deleted_during_an_answer(deployment: Deployment, redis: Redis) -> None:
    [key] = create_accounts(deployment.stack, {"erin": PASSWORD}, keys=["erin"])
    cookie = deployment.log_in("erin", PASSWORD)
    async with deployment.client(key) as client:
        conversation = (await client.conversations.create()).id
        await client.responses.create(model="parley-demo", input="a chain of its own")
    async with httpx2.AsyncClient(base_url=deployment.stack.url, headers={"Cookie": cookie}) as http:
        erin = (await http.get("/auth/me")).json()["id"]
        async with deployment.socket(key, gateway=1) as socket:
            await ask(socket, "[[text=kept]]", conversation=conversation)
            create = {"type": "response.create", "conversation": conversation, "input": "[[tokens=100 pace=0.02]]"}
            await socket.send(json.dumps(create))
            while json.loads(await socket.recv())["type"] != "response.output_text.delta":
                pass
            kinds = {key.split(":")[2] for key in await keys_of(redis, erin)}
            assert {"conversation", "conversations", "response", "thread", "usage"} <= kinds
            body = {"current_password": PASSWORD}
            assert (await http.request("DELETE", "/auth/me", json=body)).status_code == 204
            await socket.wait_closed()
    await wait_until_erased(redis, deployment, erin)
