"""The wire does not change by accident: every sequence is rendered byte for byte as in its golden file and in the
documentation. `python -m tests.contract.golden` rewrites the files."""

import json
import re

import pytest

from dev.stack import ROOT
from tests.contract import conformance
from tests.contract.conformance import Wire
from tests.contract.golden import FOLDER, STORIES, golden, story

REFUSALS = {"refused", "resumed-too-late", "connection-limit"}
FAILURES = {"failed-at-once", "failed-in-the-middle"}
ANSWERS = STORIES.keys() - REFUSALS
PROTOCOL = (ROOT / "docs/protocol.md").read_text()


def by_the_specification(event: Wire) -> Wire:
    """With the specification's event names: for reasoning the wire has OpenAI's, the only ones that stock SDKs know."""
    return {**event, "type": event["type"].replace("reasoning_text", "reasoning")}


def events(name: str) -> list[Wire]:
    return [by_the_specification(json.loads(line)) for line in golden(name).splitlines()]


def ids(text: str) -> list[str]:
    return re.findall(r"\"((?:resp|conv|msg|fc|rs|call)_[0-9a-z]{8,})\"", text)


@pytest.mark.parametrize("name", STORIES)
def test_a_story_is_byte_for_byte_its_golden_file(name: str) -> None:
    assert story(name) == golden(name)


@pytest.mark.parametrize("name", STORIES)
def test_a_story_is_deterministic(name: str) -> None:
    assert story(name) == story(name)


def test_every_file_is_a_story() -> None:
    assert sorted(file.name for file in FOLDER.iterdir()) == sorted(f"{name}.jsonl" for name in STORIES)


@pytest.mark.parametrize("name", sorted(ANSWERS - FAILURES))
def test_a_story_conforms_to_open_responses(name: str) -> None:
    assert conformance.story(events(name))["status"] in {"completed", "incomplete"}


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_the_events_of_a_failure_conform_to_open_responses(name: str) -> None:
    found = events(name)
    for one in found:
        conformance.event(one)
    assert [one["sequence_number"] for one in found] == list(range(len(found)))
    assert [one["type"] for one in found[-2:]] == ["error", "response.failed"]


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_a_refusal_conforms_to_open_responses(name: str) -> None:
    (event,) = events(name)
    assert conformance.refusal(event).code == event["error"]["code"]
    assert "sequence_number" not in event


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_ids_have_their_shape_and_are_unique(name: str) -> None:
    found = set(ids(golden(name)))
    assert all(re.fullmatch(r"call_[0-9a-f]{24}|(?:resp|conv|msg|fc|rs)_[0-9a-f]{32}", one) for one in found)
    items = {one["item"]["id"] for one in events(name) if "item" in one}
    assert len(items) == len({one["output_index"] for one in events(name) if "item" in one})
    assert items <= found


def test_every_frame_in_the_documentation_is_in_a_golden_file() -> None:
    section = PROTOCOL.partition("### Events of one answer")[2].partition("### Errors")[0]
    shown = [line for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    frames = {line for name in STORIES for line in golden(name).splitlines()}
    assert len(shown) > 5
    assert [line for line in shown if line not in frames] == []
