import asyncio
import json

from gateway.generation import Sampling
from gateway.turn import Completed, Turn, TurnRequest
from gateway.turn_log import TurnLog

REQUEST = TurnRequest("resp_1", "msg_1", "user_1", "m", Sampling(0, 1, 1, 9), 0)


async def numbers(log: TurnLog, starting_after: int = -1) -> list[int]:
    return [json.loads(text)["sequence_number"] async for text in log.follow(starting_after)]


async def test_followers_who_come_early_late_or_in_the_middle_see_the_same() -> None:
    log, turn = TurnLog(), Turn(REQUEST)
    early = asyncio.create_task(numbers(log))
    log.append(turn.start())
    await asyncio.sleep(0)
    middle = asyncio.create_task(numbers(log))
    log.append(turn.delta("x"))
    await asyncio.sleep(0)
    log.append(turn.end(Completed(None, 1)))
    assert await early == await middle == await numbers(log) == list(range(9))


async def test_a_follower_resumes_behind_the_number_it_saw() -> None:
    log, turn = TurnLog(), Turn(REQUEST)
    log.append(turn.start())
    log.append(turn.end(Completed(None, 1)))
    assert await numbers(log, starting_after=5) == [6, 7]
    assert await numbers(log, starting_after=7) == []


async def test_appending_nothing_wakes_and_ends_nobody() -> None:
    log, turn = TurnLog(), Turn(REQUEST)
    follower = asyncio.create_task(numbers(log))
    log.append(turn.start())
    log.append([])
    await asyncio.sleep(0)
    assert not follower.done()
    log.append(turn.end(Completed(None, 1)))
    assert await follower == list(range(8))
