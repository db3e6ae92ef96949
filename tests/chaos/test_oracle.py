"""The oracle finds each violation: every test breaks one promise."""

import json
from typing import Any

import pytest

from tests.chaos.oracle import Evidence, Segment, difference, judge
from tests.chaos.recording import Recording

PROMPT, ANSWER = "[[text=one two]]", "one two"


def events(*deltas: str, end: str = "response.completed") -> list[dict[str, Any]]:
    found = [{"type": "response.created", "response": {"id": "resp_1"}}]
    found += [{"type": "response.output_text.delta", "delta": delta} for delta in deltas]
    found += [{"type": end}] if end else []
    return [{**event, "sequence_number": number} for number, event in enumerate(found)]


def recording(events: list[dict[str, Any]]) -> Recording:
    recorded = Recording("SSE")
    for event in events:
        recorded.add(json.dumps(event))
    return recorded


def item(role: str, text: str, status: str = "completed", name: str = "") -> dict[str, Any]:
    return {"id": name or f"msg_{role}", "role": role, "status": status, "content": [{"text": text}]}


HISTORY = [item("user", PROMPT), item("assistant", ANSWER)]
CORRECT = recording(events("one ", "two"))
LOG = [
    Segment(("1-0", "2-0"), is_fenced=True, is_terminal=False),
    Segment(("3-0", "4-0"), is_fenced=False, is_terminal=True),
]


def test_a_correct_answer_violates_no_promise() -> None:
    verdict = judge(Evidence(PROMPT, ANSWER, [CORRECT, recording(events("one ", "two"))], HISTORY, LOG, runs=1))
    assert (verdict.violations, verdict.lost, verdict.doubled, verdict.stuck) == ([], 0, 0, False)


@pytest.mark.parametrize(
    ("shown", "lost", "doubled"),
    [(["one "], 2, 0), (["one ", "one ", "two"], 0, 3), (["two"], 3, 0), (["one ", "tvo"], 1, 1)],
)
def test_lost_and_doubled_tokens_are_counted(shown: list[str], lost: int, doubled: int) -> None:
    verdict = judge(Evidence(PROMPT, ANSWER, [recording(events(*shown))], HISTORY))
    assert (verdict.lost, verdict.doubled) == (lost, doubled)


def test_an_answer_without_an_ending_is_stuck() -> None:
    assert judge(Evidence(PROMPT, ANSWER, [recording(events("one ", end=""))], HISTORY[:1])).stuck


BROKEN: list[tuple[str, Evidence]] = [
    ("P1 history has the question 2 times", Evidence(PROMPT, ANSWER, [CORRECT], [*HISTORY, item("user", PROMPT)])),
    ("P1 history has the question 0 times", Evidence(PROMPT, ANSWER, [CORRECT], HISTORY[1:])),
    ("P1 ids twice in history", Evidence(PROMPT, ANSWER, [CORRECT], [*HISTORY, item("user", "other")])),
    ("P2 history has []", Evidence(PROMPT, ANSWER, [CORRECT], HISTORY[:1])),
    (
        "P2 history has [('incomplete', 3)]",
        Evidence(PROMPT, ANSWER, [CORRECT], [HISTORY[0], item("assistant", "one", "incomplete")]),
    ),
    (
        "P2 event 2 after 0",
        Evidence(PROMPT, ANSWER, [recording([*events("one ", "two")[:1], *events("", "")[2:]])], []),
    ),
    ("P2 event 1 after 1", Evidence(PROMPT, ANSWER, [recording([*events("one ")[:2], *events("one ")[1:]])], [])),
    ("P2 shown and not in the answer", Evidence(PROMPT, ANSWER, [recording(events("one \ufffd"))], HISTORY)),
    ("P2 event 1 is not the same", Evidence(PROMPT, ANSWER, [CORRECT, recording(events("one", " two"))], HISTORY)),
    ("P3 ended with", Evidence(PROMPT, ANSWER, [recording(events("one ", end="response.failed"))], HISTORY)),
    ("P3 2 runs of the engine", Evidence(PROMPT, ANSWER, [CORRECT], HISTORY, runs=2)),
    ("P3 an entry after a fence", Evidence(PROMPT, ANSWER, [CORRECT], HISTORY, [Segment(("1-0",), True, False, 1)])),
    (
        "P3 the log's ids have a gap",
        Evidence(PROMPT, ANSWER, [CORRECT], HISTORY, [Segment(("1-0", "3-0"), False, True)]),
    ),
    (
        "P3 an owner continued",
        Evidence(PROMPT, ANSWER, [CORRECT], HISTORY, [Segment(("1-0",), False, False), Segment(("2-0",), False, True)]),
    ),
]


@pytest.mark.parametrize(("what", "evidence"), BROKEN, ids=[what for what, _ in BROKEN])
def test_a_violation_is_reported(what: str, evidence: Evidence) -> None:
    assert [one for one in judge(evidence).violations if what in one]


def test_only_a_retryable_refusal_is_justified() -> None:
    unavailable, not_found = recording(events("one ", "two")), recording(events("one ", "two"))
    unavailable.refusals.append("503 service_unavailable")
    not_found.refusals.append("404 not_found")
    assert judge(Evidence(PROMPT, ANSWER, [unavailable], HISTORY)).violations == []
    assert judge(Evidence(PROMPT, ANSWER, [not_found], HISTORY)).violations == [
        "SSE: P5 refused with ['404 not_found']"
    ]


def test_a_lost_character_of_four_bytes_counts_as_four_tokens() -> None:
    assert difference("a🎉b", "ab") == (4, 0)
