"""Which engines are asked, shown on engines that do what no healthy one would."""

import asyncio
import logging

import pytest

from gateway.engine.addresses import Addresses
from gateway.engine.engines import EngineBalancer
from gateway.engine.roster import EnginePool
from gateway.errors import Unavailable
from gateway.inference import PromptMessage
from tests.gateway.builders import background_task
from tests.gateway.engine.several import PLAIN, Played, stream, watched, whole


async def test_an_answer_turns_away_from_an_engine_that_freezes_before_its_first_word() -> None:
    played = {"http://a/v1": Played(), "http://b/v1": Played()}
    async with watched(list(played), lambda url: played[url].connect()) as house:
        await house.until_serving(2)
        first, second = (played[f"{url}/v1"] for url in house.ranked("conv_1"))
        first.mute = True
        asking = asyncio.create_task(whole(stream(house.engines, "hi")))
        while not first.asked:
            await asyncio.sleep(0.01)
        first.dead = True
        assert await asking == "ok"
        assert second.asked == 1


async def test_the_smallest_context_is_everybodys() -> None:
    played = {"http://a/v1": Played(limit=4096), "http://b/v1": Played(limit=1024), "http://c/v1": Played(limit=2048)}
    async with watched(list(played), lambda url: played[url].connect()) as house:
        await house.until_serving(3)
        assert await house.engines.limit() == 1024
        assert (await house.engines.served()).max_model_len == 1024
        for affinity in ("conv_1", "conv_2", "conv_3"):
            counted = await house.engines.count((PromptMessage("user", "hi"),), PLAIN, affinity=affinity)
            assert counted is not None
            assert counted.limit == 1024
        played["http://b/v1"].dead = True
        await house.until_serving(2)
        assert await house.engines.limit() == 2048


async def test_an_engine_with_another_model_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    played = {"http://a/v1": Played(), "http://b/v1": Played("another"), "http://c/v1": Played()}
    async with watched(list(played), lambda url: played[url].connect()) as house:
        while not caplog.records:
            await asyncio.sleep(0.01)
        await house.until_serving(2)
        for number in range(20):
            await whole(stream(house.engines, "hi", f"conv_{number}"))
        assert played["http://b/v1"].asked == 0
        assert await house.engines.model() == "m"
        (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert vars(told).items() >= {"engine": "http://b/v1", "model": "another", "expected": "m"}.items()
        for url in ("http://a/v1", "http://c/v1"):
            played[url].model = "another"
        await house.until_serving(3)
        assert await house.engines.model() == "another"


async def test_while_all_are_away_each_is_tried_and_the_first_that_returns_is_used() -> None:
    played = {"http://a/v1": Played(), "http://b/v1": Played()}
    async with watched(list(played), lambda url: played[url].connect()) as house:
        for one in played.values():
            one.dead = True
        await house.until_serving(0)
        assert not house.engines.has_healthy
        with pytest.raises(Unavailable):
            await house.engines.probe()
        with pytest.raises(Unavailable):
            await whole(stream(house.engines, "hi"))
        played["http://b/v1"].dead = False
        assert await whole(stream(house.engines, "hi")) == "ok"
        await house.until_serving(1)
        await house.engines.probe()
        assert house.engines.has_healthy


async def test_when_the_last_that_served_fails_one_that_is_back_unnoticed_is_tried() -> None:
    played = {"http://a/v1": Played(), "http://b/v1": Played()}
    async with watched(list(played), lambda url: played[url].connect()) as house:
        await house.until_serving(2)
        first, second = (played[f"{url}/v1"] for url in house.ranked("conv_1"))
        first.dead = True
        await house.until_serving(1)
        first.dead, second.dead = False, True
        assert await whole(stream(house.engines, "hi")) == "ok"
        assert (first.asked, second.asked) == (1, 0)


async def test_engines_come_and_go_with_the_addresses_of_their_name() -> None:
    played = {f"http://10.0.0.{number}:8000/v1": Played() for number in (1, 2, 3)}
    there = ["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"]

    async def resolve(_: str) -> list[str]:
        return there

    roster = EnginePool(
        Addresses(["dns+http://vllm:8000/v1"], resolve), lambda url: played[url].connect(), look_seconds=0.05
    )
    engines = EngineBalancer(roster)

    async def until_serving(*numbers: int) -> None:
        while {one.address for one in roster.serving} != {f"http://10.0.0.{number}:8000/v1" for number in numbers}:
            await asyncio.sleep(0.01)

    async with background_task(roster.watch()):
        await until_serving(1, 2)
        answers = [stream(engines, "hi", f"conv_{number}") for number in range(4)]
        for answer in answers:
            await anext(answer)  # each engine runs some
        there[:] = ["http://10.0.0.2:8000/v1", "http://10.0.0.3:8000/v1"]
        await until_serving(2, 3)
        gone = played["http://10.0.0.1:8000/v1"]
        assert [gone.closed, *[await whole(answer) for answer in answers]] == [False] + [""] * 4  # to their end
        await gone.until_closed()
    await roster.close()
    assert all(one.closed for one in played.values())


async def test_the_only_engine_is_asked_whatever_happened_before() -> None:
    played = Played()
    async with watched(["http://a/v1"], played.connect) as house:
        await house.until_serving(1)
        played.dead = True
        for _ in range(2):
            with pytest.raises(Unavailable):
                await whole(stream(house.engines, "hi"))
            assert not house.engines.has_healthy
            with pytest.raises(Unavailable):
                await house.engines.probe()
        played.dead = False
        assert await whole(stream(house.engines, "hi")) == "ok"


async def test_the_only_engine_is_not_looked_at_while_it_has_nothing_to_do() -> None:
    played = Played()
    async with watched(["http://a/v1"], played.connect, look_seconds=0.02) as house:
        await house.until_serving(1)
        before = played.looked
        await asyncio.sleep(0.2)
        assert played.looked == before
        played.mute = True
        asking = asyncio.create_task(whole(stream(house.engines, "hi")))
        while played.looked == before:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])


async def test_who_waits_for_the_first_word_of_the_only_engine_hears_that_it_is_frozen() -> None:
    played = Played()
    async with watched(["http://a/v1"], played.connect) as house:
        await house.until_serving(1)
        played.mute = True
        asking = asyncio.create_task(whole(stream(house.engines, "hi")))
        while not played.asked:
            await asyncio.sleep(0.01)
        played.dead = True
        with pytest.raises(Unavailable):
            await asking
