import logging
from collections.abc import Sequence

import pytest

from gateway.engine.addresses import Addresses, resolve_url

NAME = "dns+http://vllm:8000/v1"


class FakeNameServer:
    """The addresses of `vllm`; None while the name cannot be resolved."""

    def __init__(self, *urls: str) -> None:
        self.urls: Sequence[str] | None = urls

    async def resolve(self, url: str) -> Sequence[str]:
        assert url == "http://vllm:8000/v1"
        if self.urls is None:
            raise OSError("no such name")
        return self.urls


async def test_a_name_stands_for_an_engine_at_each_of_its_addresses() -> None:
    found = await resolve_url("http://localhost:8000/v1")
    assert "http://127.0.0.1:8000/v1" in found
    assert set(found) <= {"http://127.0.0.1:8000/v1", "http://[::1]:8000/v1"}


async def test_the_default_port_is_80() -> None:
    assert await resolve_url("http://127.0.0.1/v1") == ["http://127.0.0.1:80/v1"]


async def test_a_url_given_twice_is_one_engine() -> None:
    addresses = Addresses(["http://a/v1", "http://a/v1"])
    assert addresses.urls == ["http://a/v1"]
    assert not addresses.may_be_several


async def test_names_and_urls_can_be_combined_and_names_are_resolved_again() -> None:
    names = FakeNameServer("http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1")
    addresses = Addresses([NAME, "http://b/v1"], names.resolve)
    assert addresses.urls == ["http://b/v1"]
    await addresses.refresh()
    assert addresses.urls == ["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1", "http://b/v1"]
    names.urls = ["http://10.0.0.2:8000/v1"]
    await addresses.refresh()
    assert addresses.urls == ["http://10.0.0.2:8000/v1", "http://b/v1"]


async def test_a_failing_name_server_removes_no_engine(caplog: pytest.LogCaptureFixture) -> None:
    names = FakeNameServer("http://10.0.0.1:8000/v1")
    addresses = Addresses([NAME], names.resolve)
    assert addresses.may_be_several
    await addresses.refresh()
    names.urls = None
    with caplog.at_level(logging.WARNING):
        await addresses.refresh()
        await addresses.refresh()
    assert addresses.urls == ["http://10.0.0.1:8000/v1"]
    assert [record.message for record in caplog.records] == ["engine name not resolved"]


async def test_an_invalid_name_has_no_address() -> None:
    addresses = Addresses(["dns+http://a..b/v1"])
    await addresses.refresh()
    assert addresses.urls == []
