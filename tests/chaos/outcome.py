"""The outcome of a fault: one row of the table."""

from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.oracle import Evidence, Verdict


@dataclass(slots=True)
class Outcome:
    """`fault_count`: the number of single faults. `pauses`: the longest of each follower, in seconds."""

    fault: str
    fault_count: int = 0
    answers: int = 0
    followers: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    connections: int = 0
    takeovers: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    pauses: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def add(self, evidence: Evidence, verdict: Verdict) -> None:
        recordings = evidence.recordings
        self.answers += 1
        self.followers += len(recordings)
        self.lost += verdict.lost
        self.doubled += verdict.doubled
        self.stuck += verdict.stuck
        self.connections += sum(one.connections for one in recordings)
        self.refusals.update(one for recording in recordings for one in recording.refusals)
        self.takeovers += sum(segment.is_fenced for segment in evidence.segments)
        self.pauses += (one.longest_pause for one in recordings)
        response_id = recordings[0].response_id
        self.violations += (f"{response_id} ({evidence.prompt[:40]}): {one}" for one in verdict.violations)

    def merge(self, other: "Outcome") -> None:
        self.fault_count += other.fault_count
        self.answers += other.answers
        self.followers += other.followers
        self.lost += other.lost
        self.doubled += other.doubled
        self.stuck += other.stuck
        self.connections += other.connections
        self.takeovers += other.takeovers
        self.refusals += other.refusals
        self.pauses += other.pauses
        self.violations += other.violations
