from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from dev import engine_commands
from dev.ports import free_port
from dev.process import Command, Process
from dev.stack import ROOT

# Without a deadline: it would measure how busy the machine is.
settings.register_profile("parley", deadline=None)
settings.load_profile("parley")

# The services run inside these tests' process; elsewhere they are processes of their own.
UNIT_TESTS = ("tests/gateway/", "tests/auth_service/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not is_measured(item):
            item.add_marker("no_cover")


def is_measured(item: pytest.Item) -> bool:
    """Under coverage Python 3.11 takes 1.6 times the CPU, so what runs the same lines again is left out: the hundred
    examples of a property test, and PostgreSQL after SQLite."""
    is_property = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    return item.nodeid.startswith(UNIT_TESTS) and not is_property and "postgresql" not in item.nodeid


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
