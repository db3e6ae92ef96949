from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.chaos import environment
from tests.chaos.environment import Environment

# Longer than a lease, the engine's token timeout, and Redis' timeout.
_PAUSE_SECONDS = 3.0


@pytest.fixture(scope="package")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="package")
async def chaos(anyio_backend: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Environment]:
    """One stack for all faults: each restores it."""
    folder = tmp_path_factory.mktemp("chaos")
    async with environment.started(folder, engine="scripted", pause_seconds=_PAUSE_SECONDS) as found:
        yield found
