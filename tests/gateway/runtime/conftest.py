from collections.abc import AsyncIterator

import pytest

from tests.gateway.replica import FakeEngine, Replica, replica, text_stream
from tests.gateway.takeovers import TEXT


@pytest.fixture
async def owner(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream(TEXT))) as found:
        yield found


@pytest.fixture
async def successor(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream(TEXT)), name="g2") as found:
        yield found
