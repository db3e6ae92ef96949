import asyncio

from gateway.pauses import Pacer, pause, user_at_work


async def test_one_of_all_that_wait_continues_in_each_round_of_the_loop() -> None:
    rounds = 0
    continued: list[int] = []

    def count() -> None:
        nonlocal rounds
        rounds += 1
        asyncio.get_running_loop().call_soon(count)

    async def work() -> None:
        await pause()
        continued.append(rounds)

    count()
    await asyncio.gather(*(work() for _ in range(20)))
    assert len(set(continued)) == 20


async def test_users_take_turns() -> None:
    order: list[str] = []

    async def work(user_id: str) -> None:
        user_at_work.set(user_id)
        await pause()
        order.append(user_id)

    await asyncio.gather(*(work("mallory") for _ in range(5)), work("alice"), work("bob"))
    assert order == ["mallory", "alice", "bob", "mallory", "mallory", "mallory", "mallory"]


async def test_a_cancelled_request_is_skipped() -> None:
    async with asyncio.timeout(5):
        cancelled = asyncio.create_task(pause())
        waiting = asyncio.create_task(pause())
        await asyncio.sleep(0)
        cancelled.cancel()
        await waiting
        await pause()


async def test_short_work_is_not_paused() -> None:
    others = 0

    async def other() -> None:
        nonlocal others
        others += 1

    task = asyncio.create_task(other())
    await Pacer().pause_if_due()
    assert others == 0
    await task
