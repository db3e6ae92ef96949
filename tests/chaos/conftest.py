from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.chaos import ground
from tests.chaos.ground import Ground

# Longer than a lease, the silence that is taken for an engine's end, and Redis' timeout.
_PAUSE_SECONDS = 3.0


@pytest.fixture(scope="package")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="package")
async def open_ground(anyio_backend: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Ground]:
    """One stack for all faults: each leaves it as it found it."""
    folder = tmp_path_factory.mktemp("chaos")
    async with ground.opened(folder, engine="scripted", pause_seconds=_PAUSE_SECONDS) as found:
        yield found
