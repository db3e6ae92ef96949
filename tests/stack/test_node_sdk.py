"""The stock OpenAI SDK for Node (tests/node), as its users write it, through nginx."""

import json
import os
import re
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from anyio import fail_after, run_process

from dev.stack import ROOT
from tests.stack.breaking_proxy import BreakingProxy
from tests.stack.conftest import Deployment
from tests.stack.strict_client import MODEL

FOLDER = ROOT / "tests/node"
PACKAGES = FOLDER / "node_modules"
OLDEST = 22
TALE = "很久以前，海边有一座灯塔。"
# After the handshake and the first two events, inside a delta.
AMONG_THE_DELTAS_BYTES = 6_000

Run = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
def node() -> str:
    """A Node that the SDK supports: the one in the packages, or the system's."""
    if not (PACKAGES / "openai").exists():
        pytest.skip("the packages of tests/node are not installed: make setup")
    packaged = PACKAGES / ".bin/node"
    binary = str(packaged) if packaged.exists() else "node"
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(re.findall(r"\d+", version)[0]) < OLDEST:
        pytest.skip(
            f"openai for Node needs Node {OLDEST} or newer: this is {version}, and npm has none for this machine"
        )
    return binary


@pytest.fixture
def run(node: str, deployment: Deployment) -> Run:
    async def run(scenario: str, url: str = deployment.stack.url) -> Any:
        """The result of the scenario of that name."""
        client = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": deployment.alice}
        environment = {"PATH": os.environ["PATH"], **client}
        with fail_after(60):
            done = await run_process([node, "run.mjs", scenario], cwd=FOLDER, env=environment, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run


def text_of(events: list[Any]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


def numbers_of(events: list[Any]) -> list[int]:
    return [event["sequence_number"] for event in events]


def test_the_lock_names_no_registry() -> None:
    assert "resolved" not in (FOLDER / "package-lock.json").read_text()


async def test_a_whole_answer(run: Run) -> None:
    seen = await run("whole")
    assert (seen["answer"]["status"], seen["answer"]["output_text"]) == ("completed", TALE)
    assert seen["again"] == seen["answer"]


async def test_a_streamed_answer(run: Run) -> None:
    events = await run("streamed")
    assert numbers_of(events) == list(range(len(events)))
    assert (events[-1]["type"], text_of(events)) == ("response.completed", TALE)


async def test_the_stream_helper_assembles_the_answer(run: Run) -> None:
    seen = await run("helper")
    assert "".join(seen["pieces"]) == seen["final"]["output_text"] == TALE


async def test_a_background_answer_is_streamed_and_polled(run: Run) -> None:
    seen = await run("background")
    assert (seen["begun"]["status"], seen["answer"]["status"]) == ("in_progress", "completed")
    assert numbers_of(seen["events"]) == list(range(len(seen["events"])))
    assert seen["rest"] == seen["events"][10:]
    assert text_of(seen["events"]) == seen["answer"]["output_text"]


async def test_a_disconnected_reader_resumes(run: Run) -> None:
    events = await run("interruption")
    assert numbers_of(events) == list(range(len(events)))
    assert text_of(events) == events[-1]["response"]["output"][0]["content"][0]["text"]


async def test_stopping_over_http_and_again(run: Run) -> None:
    seen = await run("cancellation")
    assert seen["stopped"]["incomplete_details"]["reason"] == "cancelled"
    assert seen["stopped"] == seen["again"]


async def test_a_function_is_called_and_its_output_answered(run: Run) -> None:
    seen = await run("tools")
    (call,) = seen["asked"]["output"]
    assert (call["type"], call["name"], json.loads(call["arguments"])) == (
        "function_call",
        "weather",
        {"place": "青岛"},
    )
    assert seen["answer"]["output_text"] == "Fog."


async def test_a_conversation_from_creation_to_deletion(run: Run) -> None:
    seen = await run("conversation")
    assert seen["made"]["metadata"] == {"topic": "harbours"}
    assert [item["role"] for item in seen["items"]] == ["user", "assistant"]
    assert [item["id"] for item in seen["input"]] == [seen["items"][0]["id"]]


async def test_errors_are_exceptions_that_name_the_cause(run: Run) -> None:
    assert await run("errors") == [
        ["NotFoundError", 404, "model_not_found", "model"],
        ["BadRequestError", 400, "invalid_value", "temperature"],
        ["BadRequestError", 400, "invalid_value", "temperature"],
        ["NotFoundError", 404, "not_found", "response_id"],
        ["AuthenticationError", 401, "invalid_api_key", None],
    ]


async def test_requests_on_a_socket_are_answered_in_order_each_with_its_stream_id(run: Run) -> None:
    for name, events in zip(("one", "two", "three"), await run("queue"), strict=True):
        assert {event["stream_id"] for event in events} == {name}
        assert numbers_of(events) == list(range(len(events)))
        assert text_of(events) == name


async def test_an_unstored_answer_is_continued_on_its_own_socket(run: Run, deployment: Deployment) -> None:
    first, second = await run("continuation")
    assert (first["response"]["store"], second["type"]) == (False, "response.completed")
    assert [one["content"] for one in deployment.prompts()[-1]][2:] == ["noted", "Which?"]


async def test_a_broken_socket_is_resumed(run: Run, deployment: Deployment) -> None:
    async with BreakingProxy(deployment.stack.port, breaks_after_bytes=AMONG_THE_DELTAS_BYTES) as proxy:
        seen = await run("reconnection", proxy.url)
    assert (proxy.connections, seen["codes"]) == (2, [1006])
    events = seen["seen"]
    assert numbers_of(events) == list(range(len(events)))
    assert text_of(events) == events[-1]["response"]["output"][0]["content"][0]["text"]


async def test_an_answer_on_a_socket_is_stopped_over_http(run: Run) -> None:
    seen = await run("cancelling")
    assert seen["last"]["type"] == "response.incomplete"
    assert seen["stopped"]["id"] == seen["last"]["response"]["id"]


async def test_a_refusal_on_a_socket_is_an_error_and_the_socket_stays_open(run: Run) -> None:
    seen = await run("refusal")
    assert [error["error"]["code"] for error in seen["errors"]] == ["model_not_found"]
    assert seen["last"]["response"]["model"] == MODEL
    assert seen["last"]["type"] == "response.completed"
