"""The wire does not change by accident: every scenario produces its golden file byte for byte, and the documentation
shows the same frames. `python -m tests.contract.golden` writes the files again."""

import json
import re

import pytest

from dev.stack import ROOT
from tests.contract import conformance
from tests.contract.conformance import Wire
from tests.contract.golden import FOLDER, SCENARIOS, golden_text, render

REFUSALS = {"refused", "resumed-too-late", "connection-limit"}
TRANSPORT_ERRORS = {"failed-at-once", "failed-in-the-middle"}
ANSWERS = SCENARIOS.keys() - REFUSALS
PROTOCOL = (ROOT / "docs/protocol.md").read_text()


def with_specification_names(event: Wire) -> Wire:
    """On the wire reasoning has OpenAI's names, because stock SDKs know no others; the fields are the same."""
    return {**event, "type": event["type"].replace("reasoning_text", "reasoning")}


def events(name: str) -> list[Wire]:
    return [with_specification_names(json.loads(line)) for line in golden_text(name).splitlines()]


def ids(text: str) -> list[str]:
    return re.findall(r"\"((?:resp|conv|msg|fc|rs|call)_[0-9a-z]{8,})\"", text)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_produces_its_golden_file_byte_for_byte(name: str) -> None:
    assert render(name) == golden_text(name)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_deterministic(name: str) -> None:
    assert render(name) == render(name)


def test_every_golden_file_has_a_scenario() -> None:
    assert sorted(file.name for file in FOLDER.iterdir()) == sorted(f"{name}.jsonl" for name in SCENARIOS)


@pytest.mark.parametrize("name", sorted(ANSWERS - TRANSPORT_ERRORS))
def test_a_scenario_conforms_to_open_responses(name: str) -> None:
    assert conformance.stream(events(name))["status"] in {"completed", "incomplete"}


@pytest.mark.parametrize("name", sorted(TRANSPORT_ERRORS))
def test_a_failure_consists_of_events_of_open_responses(name: str) -> None:
    failure = events(name)
    for event in failure:
        conformance.event(event)
    assert [event["sequence_number"] for event in failure] == list(range(len(failure)))
    assert [event["type"] for event in failure[-2:]] == ["error", "response.failed"]


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_a_refusal_conforms_to_open_responses(name: str) -> None:
    (event,) = events(name)
    assert conformance.refusal(event).code == event["error"]["code"]
    assert "sequence_number" not in event


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_ids_keep_their_format_and_are_distinct(name: str) -> None:
    found = set(ids(golden_text(name)))
    assert all(re.fullmatch(r"call_[0-9a-f]{24}|(?:resp|conv|msg|fc|rs)_[0-9a-f]{32}", one) for one in found)
    items = {event["item"]["id"] for event in events(name) if "item" in event}
    assert len(items) == len({event["output_index"] for event in events(name) if "item" in event})
    assert items <= found


def test_every_frame_in_the_documentation_is_a_golden_one() -> None:
    section = PROTOCOL.partition("### Events of one answer")[2].partition("### Errors")[0]
    shown = [line for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    golden = {line for name in SCENARIOS for line in golden_text(name).splitlines()}
    assert len(shown) > 5
    assert [line for line in shown if line not in golden] == []
