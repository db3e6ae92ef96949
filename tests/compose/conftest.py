import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from dev.ports import free_port
from tests.compose.chat import Chat
from tests.compose.project import CPU, PRODUCTION, SCRIPTED, Project, succeeds

USER, PASSWORD = "ada", secrets.token_urlsafe(24)


@pytest.fixture(scope="module", autouse=True)
def certificate_authorities() -> None:
    """The machine's: `docker` may need them to reach a registry."""


@pytest.fixture(scope="session")
def compose() -> None:
    """Reading a configuration needs no Docker engine."""
    if not succeeds("docker", "compose", "version"):
        pytest.skip("docker compose is not installed")


@pytest.fixture(scope="session", params=[PRODUCTION, CPU], ids=["production", "cpu"])
def configuration(request: pytest.FixtureRequest, compose: None) -> dict[str, Any]:
    return Project(request.param).configuration()


@pytest.fixture
def services(configuration: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = configuration["services"]
    return found


@pytest.fixture(scope="session")
def production(compose: None) -> dict[str, Any]:
    found: dict[str, Any] = Project(PRODUCTION).configuration()["services"]
    return found


@pytest.fixture(scope="session")
def cpu(compose: None) -> dict[str, Any]:
    found: dict[str, Any] = Project(CPU).configuration()["services"]
    return found


@contextmanager
def deployed(files: Sequence[str], name: str) -> Iterator[Project]:
    """A stack in containers with one account; removed together with its volumes."""
    if not succeeds("docker", "version"):
        pytest.skip("no Docker engine answers (docker version)")
    project = Project(files, free_port(), name)
    project.remove()
    try:
        project.start()
        project.execute("auth-service", "auth-service", "user", "add", USER, "--admin", text=f"{PASSWORD}\n")
        yield project
    finally:
        project.remove()


@pytest.fixture(scope="session")
def stack(compose: None) -> Iterator[Project]:
    with deployed(SCRIPTED, "parley-test") as project:
        yield project


@pytest.fixture(scope="session")
def chat(stack: Project) -> Chat:
    return Chat.log_in(stack.url, USER, PASSWORD)


@pytest.fixture(scope="module")
def cpu_chat(compose: None) -> Iterator[Chat]:
    """A user of the stack with real vLLM on the CPU and the demo model; the stack is removed before other tests."""
    image = Project(CPU).configuration()["services"]["vllm"]["image"]
    # 4 GB: only if it has been pulled.
    if not succeeds("docker", "image", "inspect", image):
        pytest.skip(f"the image {image} is not here")
    with deployed(CPU, "parley-test-cpu") as project:
        yield Chat.log_in(project.url, USER, PASSWORD)
