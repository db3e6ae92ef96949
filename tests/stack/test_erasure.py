"""Nothing of a deleted user remains in Redis, whatever ran or was down at that moment."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from redis.asyncio import Redis

from gateway.erasure import Erasure
from tests.stack.conftest import PASSWORD, Deployment, ask

GONE, STAYS = "user_" + "1" * 32, "user_" + "2" * 32


class AuthService:
    """Lists the deleted users until their erasure is confirmed."""

    def __init__(self, *user_ids: str) -> None:
        self.deleted = list(user_ids)
        self.all_gone = asyncio.Event()

    async def deletions(self) -> list[str]:
        return list(self.deleted)

    async def erased(self, user_id: str) -> None:
        self.deleted.remove(user_id)
        if not self.deleted:
            self.all_gone.set()


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
    deployment.stack.add_user("erin", PASSWORD)
    key, cookie = deployment.stack.add_key("erin"), deployment.log_in("erin", PASSWORD)
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


async def test_a_deletion_whose_announcement_was_lost_is_found_by_polling(redis: Redis) -> None:
    await redis.set(f"parley:{{{STAYS}}}:conversations", "1")
    auth = AuthService()
    erasing = asyncio.create_task(Erasure(redis, auth, every_seconds=0.01, settled_seconds=0.01).run())
    await redis.set(f"parley:{{{GONE}}}:conversations", "1")
    auth.deleted.append(GONE)
    await auth.all_gone.wait()
    erasing.cancel()
    assert await keys_of(redis, GONE) == []
    assert await keys_of(redis, STAYS) != []


async def test_no_deletion_is_confirmed_while_an_answer_may_still_write(redis: Redis) -> None:
    turn = f"{GONE} resp_1"
    await redis.sadd("parley:gateways", "of-this-test")
    await redis.sadd("parley:gateway:of-this-test:turns", turn)
    auth = AuthService(GONE)
    erasing = asyncio.create_task(Erasure(redis, auth, every_seconds=0.01, settled_seconds=0.01).run())
    for number in range(3):
        key = f"parley:{{{GONE}}}:written:{number}"
        await redis.set(key, "1")
        while await redis.exists(key):
            await asyncio.sleep(0.01)
    assert auth.deleted == [GONE]
    await redis.srem("parley:gateway:of-this-test:turns", turn)
    await auth.all_gone.wait()
    erasing.cancel()
