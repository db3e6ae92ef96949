from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import engine_commands
from dev.ports import free_port
from dev.process import Command, Process
from dev.stack import ROOT


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def scripted_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address (without /v1) of a scripted engine."""
    yield from _running(engine_commands.scripted(free_port()), tmp_path_factory.mktemp("scripted"))


@pytest.fixture(scope="session")
def vllm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address (without /v1) of a real vLLM that serves the demo model: one start for all tests."""
    if not (ROOT / ".venv-engine").exists():
        pytest.skip("real vLLM is not installed: make setup")
    yield from _running(engine_commands.vllm(ROOT, free_port()), tmp_path_factory.mktemp("vllm"))


def _running(command: Command, logs: Path) -> Iterator[str]:
    process = Process(command, logs / "log", ROOT)
    process.start()
    try:
        process.wait_ready()
        yield f"http://127.0.0.1:{command.port}"
    finally:
        process.stop()
