import asyncio
from collections import Counter

from gateway.engine.user_lock import UserLock
from gateway.pauses import user_at_work


async def test_a_user_waits_for_its_own_work_only() -> None:
    lock, running, most = UserLock(), Counter[str](), Counter[str]()

    async def work(user_id: str) -> None:
        user_at_work.set(user_id)
        async with lock.hold():
            running[user_id] += 1
            most[user_id] = max(most[user_id], running[user_id])
            most["all"] = max(most["all"], running.total())
            await asyncio.sleep(0)
            running[user_id] -= 1

    await asyncio.gather(*(work(user_id) for user_id in ("mallory", "alice", "", "") * 3))
    assert (most["mallory"], most["alice"], most[""]) == (1, 1, 6)
    assert most["all"] == 8
