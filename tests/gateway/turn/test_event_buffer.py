import asyncio

from hypothesis import given
from hypothesis import strategies as st

from gateway.turn.event_buffer import EventBuffer


async def collect(buffer: EventBuffer, starting_after: int = -1) -> list[str]:
    return [text async for text in buffer.follow(starting_after)]


@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.tuples(st.integers(0, 8), st.integers(-1, 20)), max_size=5))
async def test_followers_that_join_at_any_time_from_any_number_see_the_same_frames(
    batches: list[int], joining: list[tuple[int, int]]
) -> None:
    buffer, followers, number = EventBuffer(), [], 0
    for turn, size in enumerate(batches):
        followers += [(asyncio.create_task(collect(buffer, after)), after) for at, after in joining if at == turn]
        await asyncio.sleep(0)
        buffer.append([str(number + offset) for offset in range(size)], ended=False)
        number += size
    late = [(asyncio.create_task(collect(buffer, after)), after) for at, after in joining if at >= len(batches)]
    buffer.append([str(number)], ended=True)
    for task, after in followers + late:
        assert await task == [str(one) for one in range(after + 1, number + 1)]


async def test_a_follower_waits_for_the_next_frame() -> None:
    buffer = EventBuffer()
    follower = buffer.follow()
    buffer.append(["0"], ended=False)
    assert await anext(follower) == "0"
    waiting = asyncio.ensure_future(anext(follower, None))
    buffer.append([], ended=False)
    await asyncio.sleep(0)
    assert not waiting.done()
    buffer.append(["1"], ended=True)
    assert await waiting == "1"


async def test_a_cancelled_follower_does_not_affect_the_others() -> None:
    buffer = EventBuffer()
    buffer.append(["0"], ended=False)
    cancelled, staying = asyncio.create_task(collect(buffer)), asyncio.create_task(collect(buffer))
    await asyncio.sleep(0)
    cancelled.cancel()
    buffer.append(["1"], ended=True)
    assert await staying == ["0", "1"]


async def test_the_buffer_closes_with_the_terminal_event() -> None:
    buffer = EventBuffer()
    ending = asyncio.create_task(buffer.wait_closed())
    buffer.append(["0"], ended=False)
    await asyncio.sleep(0)
    assert not ending.done()
    buffer.append(["1"], ended=True)
    await ending
    assert len(buffer) == 2


async def test_a_follower_that_starts_after_the_end_gets_nothing() -> None:
    buffer = EventBuffer()
    buffer.append(["0"], ended=True)
    assert await collect(buffer, 0) == await collect(buffer, 7) == []


async def test_a_long_replay_lets_others_work() -> None:
    buffer = EventBuffer([str(number) for number in range(200_000)])
    buffer.append([], ended=True)
    following, rounds = asyncio.ensure_future(collect(buffer)), 0
    while not following.done():
        rounds += 1
        await asyncio.sleep(0)
    assert len(following.result()) == 200_000
    assert rounds > 3
