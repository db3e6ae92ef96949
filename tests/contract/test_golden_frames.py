"""The wire does not change by accident: every story is told byte for byte as it is written down, in the documentation
too. `python -m tests.contract.golden` writes them anew."""

import json
import re

import pytest

from dev.stack import ROOT
from tests.contract import conformance
from tests.contract.conformance import Wire
from tests.contract.golden import FOLDER, STORIES, story, written

REFUSALS = {"refused", "resumed-too-late", "connection-limit"}
TRANSPORT_ERRORS = {"failed-at-once", "failed-in-the-middle"}
ANSWERS = STORIES.keys() - REFUSALS
PROTOCOL = (ROOT / "docs/protocol.md").read_text()


def by_the_specification(event: Wire) -> Wire:
    """Reasoning has OpenAI's names on our wire, because stock SDKs know no others; the fields are the same."""
    return {**event, "type": event["type"].replace("reasoning_text", "reasoning")}


def events(name: str) -> list[Wire]:
    return [by_the_specification(json.loads(line)) for line in written(name).splitlines()]


def ids(text: str) -> list[str]:
    return re.findall(r"\"((?:resp|conv|msg|fc|rs|call)_[0-9a-z]{8,})\"", text)


@pytest.mark.parametrize("name", STORIES)
def test_a_scenario_produces_its_golden_file_byte_for_byte(name: str) -> None:
    assert story(name) == written(name)


@pytest.mark.parametrize("name", STORIES)
def test_a_scenario_is_deterministic(name: str) -> None:
    assert story(name) == story(name)


def test_every_golden_file_has_a_scenario() -> None:
    assert sorted(file.name for file in FOLDER.iterdir()) == sorted(f"{name}.jsonl" for name in STORIES)


@pytest.mark.parametrize("name", sorted(ANSWERS - TRANSPORT_ERRORS))
def test_a_scenario_conforms_to_open_responses(name: str) -> None:
    assert conformance.story(events(name))["status"] in {"completed", "incomplete"}


@pytest.mark.parametrize("name", sorted(TRANSPORT_ERRORS))
def test_a_failure_consists_of_events_of_open_responses(name: str) -> None:
    told = events(name)
    for one in told:
        conformance.event(one)
    assert [one["sequence_number"] for one in told] == list(range(len(told)))
    assert [one["type"] for one in told[-2:]] == ["error", "response.failed"]


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_a_refusal_conforms_to_open_responses(name: str) -> None:
    (event,) = events(name)
    assert conformance.refusal(event).code == event["error"]["code"]
    assert "sequence_number" not in event


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_ids_keep_their_format_and_are_distinct(name: str) -> None:
    found = set(ids(written(name)))
    assert all(re.fullmatch(r"call_[0-9a-f]{24}|(?:resp|conv|msg|fc|rs)_[0-9a-f]{32}", one) for one in found)
    items = {one["item"]["id"] for one in events(name) if "item" in one}
    assert len(items) == len({one["output_index"] for one in events(name) if "item" in one})
    assert items <= found


def test_every_frame_in_the_documentation_is_a_golden_one() -> None:
    section = PROTOCOL.partition("### Events of one answer")[2].partition("### Errors")[0]
    shown = [line for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    golden = {line for name in STORIES for line in written(name).splitlines()}
    assert len(shown) > 5
    assert [line for line in shown if line not in golden] == []
