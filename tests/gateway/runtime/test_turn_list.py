import pytest

from gateway.errors import Unavailable
from gateway.runtime.turn_list import TurnList


class FakeLeases:
    def __init__(self, *, is_available: bool = True) -> None:
        self.is_available = is_available
        self.turns: set[tuple[str, str]] = set()

    async def add_turn(self, user_id: str, response_id: str) -> None:
        self._check()
        self.turns.add((user_id, response_id))

    async def remove_turn(self, user_id: str, response_id: str) -> None:
        self._check()
        self.turns.remove((user_id, response_id))

    def _check(self) -> None:
        if not self.is_available:
            raise Unavailable("redis")


async def test_a_turn_is_listed_until_it_is_removed() -> None:
    leases = FakeLeases()
    turn_list = TurnList(leases)
    await turn_list.add("user_1", "resp_1")
    await turn_list.add_again("user_1", "resp_2")
    assert leases.turns == {("user_1", "resp_1"), ("user_1", "resp_2")}
    await turn_list.remove("user_1", "resp_1")
    assert leases.turns == {("user_1", "resp_2")}


async def test_a_turn_that_cannot_be_listed_is_refused_before_it_is_accepted() -> None:
    with pytest.raises(Unavailable):
        await TurnList(FakeLeases(is_available=False)).add("user_1", "resp_1")


async def test_an_outage_after_the_acceptance_is_logged_and_does_not_end_the_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await TurnList(FakeLeases(is_available=False)).add_again("user_1", "resp_1")
    (record,) = caplog.records
    assert (record.levelname, vars(record)["response"]) == ("WARNING", "resp_1")


async def test_an_outage_leaves_an_ended_turn_listed() -> None:
    leases = FakeLeases()
    turn_list = TurnList(leases)
    await turn_list.add("user_1", "resp_1")
    leases.is_available = False
    await turn_list.remove("user_1", "resp_1")
    assert leases.turns == {("user_1", "resp_1")}
