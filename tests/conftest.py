import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from dev import engine_commands
from dev.ports import free_port
from dev.process import Command, Process
from dev.stack import ROOT

# Without a deadline: it would measure how busy the machine is.
settings.register_profile("parley", deadline=None)
settings.load_profile("parley")

# The services run inside these tests' process; elsewhere they are processes of their own.
UNIT_TESTS = ("tests/gateway/", "tests/auth_service/")
# The folders whose files take longest, after those that need vLLM.
LONGEST = ("vllm", "chaos", "browser", "stack", "dev", "auth_service")


# What the collection imports and makes is never garbage, so searching it wastes CPU.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@cache
def group_of(file: str) -> str:
    return "vllm" if "pytest.mark.vllm" in (ROOT / file).read_text() else file


class FilesAndVllm(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives a worker a whole file, and one of them all files that need vLLM, because a start takes 20 s of CPU. (The
    groups of xdist 3.8 have no effect with pytest 9.2.)"""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    return FilesAndVllm(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker is left alone with them."""
    items.sort(key=rank)
    for item in items:
        if not is_measured(item):
            item.add_marker("no_cover")


def rank(item: pytest.Item) -> int:
    file = item.nodeid.partition("::")[0]
    folder = group_of(file) if group_of(file) in LONGEST else file.split("/")[1]
    return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)


def is_measured(item: pytest.Item) -> bool:
    """Under coverage Python 3.11 takes 1.6 times the CPU, so what runs the same lines again is left out: the hundred
    examples of a property test, and PostgreSQL after SQLite."""
    is_property = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    return item.nodeid.startswith(UNIT_TESTS) and not is_property and "postgresql" not in item.nodeid


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def certificate_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leaves the list empty: loading the machine's takes 26 ms of CPU for each HTTP client, in the services too, and no
    test trusts a certificate that it did not make."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("SSL_CERT_FILE", raising=False)
        environment.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("no-certificates")))
        yield


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
