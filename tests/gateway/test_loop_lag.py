import asyncio
import logging

import pytest

from gateway.loop_lag import WARNING_SECONDS, LoopLag, name_work
from tests.gateway.builders import background_task


def hold_the_loop(lag: LoopLag) -> None:
    while lag._holder is None:
        pass


async def test_a_step_that_holds_the_loop_is_logged_with_its_request_and_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lag = LoopLag()

    async def request() -> None:
        name_work("request_1")
        hold_the_loop(lag)

    def found() -> list[dict[str, object]]:
        return [vars(record) for record in caplog.records if vars(record).get("work") == "request_1"]

    with caplog.at_level(logging.WARNING, "gateway.loop_lag"):
        async with background_task(lag.run()):
            while not found():
                await asyncio.create_task(request())
                await asyncio.sleep(0.01)
    fields = found()[0]
    assert isinstance(fields["seconds"], float)
    assert fields["seconds"] >= WARNING_SECONDS
    assert "hold_the_loop" in str(fields["place"])


async def test_a_long_name_of_the_work_is_cut() -> None:
    name_work("x" * 1000)
    task = asyncio.current_task()
    assert task is not None
    assert task.get_name() == "x" * 100
