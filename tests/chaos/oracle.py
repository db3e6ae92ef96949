"""Checks the promises. Pure: it judges recorded evidence.

P1 an accepted question is in history once; P2 shown text stays shown and is the same for every client; P3 one ending,
and one engine run at a time; P4 nothing of other answers; P5 only justified refusals.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from tests.chaos.questions import count_tokens
from tests.chaos.recording import Recording

# A dependency is down, or a gateway is overloaded: justified, and the client retries.
_RETRYABLE = ("429 ", "502 ", "503 ", "504 ")


@dataclass(frozen=True, slots=True)
class Segment:
    """One stream of an answer's log: the ids of its events, and the number of entries after its fence."""

    ids: tuple[str, ...]
    is_fenced: bool
    is_terminal: bool
    entries_after_fence: int = 0


@dataclass(slots=True)
class Evidence:
    """About one question. `answer` is that of an uninterrupted run. `runs`: the maximum of concurrent engine runs."""

    prompt: str
    answer: str
    recordings: Sequence[Recording]
    items: Sequence[dict[str, Any]]
    segments: Sequence[Segment] = ()
    runs: int = 0
    runs_allowed: int = 1


@dataclass(slots=True)
class Verdict:
    lost: int = 0
    doubled: int = 0
    stuck: bool = False
    violations: list[str] = field(default_factory=list)


def judge(evidence: Evidence) -> Verdict:
    verdict = Verdict(stuck=any(not one.has_ended for one in evidence.recordings))
    for text in _shown(evidence):
        lost, doubled = difference(evidence.answer, text)
        verdict.lost, verdict.doubled = max(verdict.lost, lost), max(verdict.doubled, doubled)
    verdict.violations += _of_history(evidence)
    for recording in evidence.recordings:
        verdict.violations += (f"{recording.follower}: {one}" for one in _of_recording(evidence, recording))
    verdict.violations += _of_all(evidence.recordings)
    verdict.violations += _of_log(evidence.segments)
    if evidence.runs > evidence.runs_allowed:
        verdict.violations.append(f"P3 {evidence.runs} runs of the engine at once")
    return verdict


def difference(expected: str, got: str) -> tuple[int, int]:
    """The number of missing tokens and of extra tokens."""
    if expected == got:
        return 0, 0
    lost = doubled = 0
    for kind, start, end, start_got, end_got in SequenceMatcher(None, expected, got, autojunk=False).get_opcodes():
        if kind != "equal":
            lost, doubled = lost + count_tokens(expected[start:end]), doubled + count_tokens(got[start_got:end_got])
    return lost, doubled


def _shown(evidence: Evidence) -> Iterator[str]:
    """Every complete answer that a client or the history has."""
    yield from (one.text for one in evidence.recordings if one.has_ended)
    yield from (_text(item) for item in evidence.items if item["role"] == "assistant")


def _of_history(evidence: Evidence) -> Iterator[str]:
    said = [(item["role"], _text(item), item["status"]) for item in evidence.items]
    accepted = any(one.frames for one in evidence.recordings)
    asked = [one for one in said if one[0] == "user"]
    if accepted and asked != [("user", evidence.prompt, "completed")]:
        yield f"P1 history has the question {len(asked)} times"
    answers = [one for one in said if one[0] == "assistant"]
    if any(one.has_ended for one in evidence.recordings) and answers != [("assistant", evidence.answer, "completed")]:
        yield f"P2 history has {[(status, len(text)) for _, text, status in answers]} for {len(evidence.answer)}"
    if doubled := [name for name, count in Counter(item["id"] for item in evidence.items).items() if count > 1]:
        yield f"P1 ids twice in history: {doubled}"


def _of_recording(evidence: Evidence, recording: Recording) -> Iterator[str]:
    numbers = [frame.number for frame in recording.frames]
    if numbers != list(range(len(numbers))):
        at = next(place for place, number in enumerate(numbers) if place != number)
        yield f"P2 event {numbers[at]} after {numbers[at - 1] if at else None}"
    if not evidence.answer.startswith(recording.text):
        yield f"P2 shown and not in the answer: {_first_difference(evidence.answer, recording.text)}"
    endings = [frame.event["type"] for frame in recording.frames if frame.is_terminal]
    if recording.has_ended and endings != ["response.completed"]:
        yield f"P3 ended with {endings}"
    if "error" in {frame.event["type"] for frame in recording.frames}:
        yield "P3 an error inside the answer"
    if untrue := [one for one in recording.refusals if not one.startswith(_RETRYABLE)]:
        yield f"P5 refused with {sorted(set(untrue))}"


def _of_all(recordings: Sequence[Recording]) -> Iterator[str]:
    """Each event is byte for byte the same for every client."""
    first: dict[int, str] = {}
    for recording in (one for one in recordings if one.verbatim):
        for frame in recording.frames:
            if first.setdefault(frame.number, frame.raw) != frame.raw:
                yield f"P2 event {frame.number} is not the same for all"
                return


def _of_log(segments: Sequence[Segment]) -> Iterator[str]:
    """A fenced owner has added nothing, and the numbers continue without a gap across all owners."""
    ids = [one for segment in segments for one in segment.ids]
    if ids != [f"{number}-0" for number in range(1, len(ids) + 1)]:
        yield f"P3 the log's ids have a gap or a double: {ids[-5:]}"
    if any(segment.entries_after_fence for segment in segments):
        yield "P3 an entry after a fence"
    if any(segment.is_terminal or not segment.is_fenced for segment in segments[:-1]):
        yield "P3 an owner continued although another had taken over"


def _first_difference(expected: str, got: str) -> str:
    at = next((place for place, pair in enumerate(zip(expected, got, strict=False)) if len(set(pair)) > 1), None)
    if at is None:
        return f"{got[len(expected) :]!r} after the end"
    return f"{got[max(0, at - 10) : at + 20]!r} instead of {expected[max(0, at - 10) : at + 20]!r}"


def _text(item: dict[str, Any]) -> str:
    return "".join(part["text"] for part in item["content"])
