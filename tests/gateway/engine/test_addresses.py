import logging
from collections.abc import Sequence

import pytest

from gateway.engine.addresses import Addresses, resolved

NAME = "dns+http://vllm:8000/v1"


class Names:
    """What `vllm` stands for; None: nothing."""

    def __init__(self, *found: str) -> None:
        self.found: Sequence[str] | None = found

    async def resolve(self, url: str) -> Sequence[str]:
        assert url == "http://vllm:8000/v1"
        if self.found is None:
            raise OSError("no such name")
        return self.found


async def test_a_name_is_an_engine_at_each_of_its_addresses() -> None:
    found = await resolved("http://localhost:8000/v1")
    assert "http://127.0.0.1:8000/v1" in found
    assert set(found) <= {"http://127.0.0.1:8000/v1", "http://[::1]:8000/v1"}


async def test_a_port_is_80_unless_it_is_told() -> None:
    assert await resolved("http://127.0.0.1/v1") == ["http://127.0.0.1:80/v1"]


async def test_what_is_written_twice_is_one_engine() -> None:
    addresses = Addresses(["http://a/v1", "http://a/v1"])
    assert addresses.known == ["http://a/v1"]
    assert not addresses.may_be_several


async def test_names_and_addresses_go_together_and_follow_what_the_name_stands_for() -> None:
    names = Names("http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1")
    addresses = Addresses([NAME, "http://b/v1"], names.resolve)
    assert addresses.known == ["http://b/v1"]
    await addresses.look_up()
    assert addresses.known == ["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1", "http://b/v1"]
    names.found = ["http://10.0.0.2:8000/v1"]
    await addresses.look_up()
    assert addresses.known == ["http://10.0.0.2:8000/v1", "http://b/v1"]


async def test_a_name_server_that_is_away_takes_no_engine_with_it(caplog: pytest.LogCaptureFixture) -> None:
    names = Names("http://10.0.0.1:8000/v1")
    addresses = Addresses([NAME], names.resolve)
    assert addresses.may_be_several
    await addresses.look_up()
    names.found = None
    with caplog.at_level(logging.WARNING):
        await addresses.look_up()
        await addresses.look_up()
    assert addresses.known == ["http://10.0.0.1:8000/v1"]
    assert [record.message for record in caplog.records] == ["a name of engines has no address"]


async def test_what_is_no_name_at_all_has_no_address() -> None:
    addresses = Addresses(["dns+http://a..b/v1"])
    await addresses.look_up()
    assert addresses.known == []
