"""Nothing of a deleted user remains; `tests/stack/test_erasure.py` shows it with real services and running answers."""

import asyncio

from redis.asyncio import Redis

from gateway.store.erasure import Erasure
from tests.gateway.builders import background_task

GONE, STAYS = "user_" + "1" * 32, "user_" + "2" * 32


class AuthService:
    """Lists deleted users until their erasure is confirmed."""

    def __init__(self, *user_ids: str) -> None:
        self.deleted = list(user_ids)
        self.asked = asyncio.Event()
        self.all_gone = asyncio.Event()

    async def deletions(self) -> list[str]:
        self.asked.set()
        return list(self.deleted)

    async def erased(self, user_id: str) -> None:
        self.deleted.remove(user_id)
        if not self.deleted:
            self.all_gone.set()


async def keys_of(redis: Redis, user_id: str) -> list[str]:
    return [key.decode() async for key in redis.scan_iter(match=f"*{user_id}*")]


async def test_a_user_whose_deletion_was_not_announced_is_found_after_the_interval(redis: Redis) -> None:
    await redis.set(f"parley:{{{STAYS}}}:conversations", "1")
    auth = AuthService()
    async with background_task(Erasure(redis, auth, interval_seconds=0.01, settled_seconds=0.01).run()):
        await redis.set(f"parley:{{{GONE}}}:conversations", "1")
        auth.deleted.append(GONE)
        await auth.all_gone.wait()
    assert await keys_of(redis, GONE) == []
    assert await keys_of(redis, STAYS) != []


async def test_a_deletion_that_was_announced_is_not_delayed_by_the_interval(redis: Redis) -> None:
    auth = AuthService()
    erasure = Erasure(redis, auth, interval_seconds=3600, settled_seconds=0)
    async with background_task(erasure.run()):
        await auth.asked.wait()
        auth.deleted.append(GONE)
        erasure.run_soon()
        await auth.all_gone.wait()


async def test_an_erasure_is_not_confirmed_while_an_answer_may_still_write(redis: Redis) -> None:
    turn = f"{GONE} resp_1"
    await redis.sadd("parley:gateways", "g1")
    await redis.sadd("parley:gateway:g1:turns", turn)
    auth = AuthService(GONE)
    async with background_task(Erasure(redis, auth, interval_seconds=0.01, settled_seconds=0.01).run()):
        for number in range(3):
            key = f"parley:{{{GONE}}}:written:{number}"
            await redis.set(key, "1")
            while await redis.exists(key):
                await asyncio.sleep(0.01)
        assert auth.deleted == [GONE]
        await redis.srem("parley:gateway:g1:turns", turn)
        await auth.all_gone.wait()
