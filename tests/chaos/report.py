"""The table that `make chaos` prints."""

import statistics
from collections.abc import Iterable, Sequence

from tests.chaos.outcome import Outcome

_WIDTHS = (26, 6, 16, 11, 14, 9, 9, 13, 11)
_HEAD = (
    *("fault", "faults", "answers followed", "tokens lost", "tokens doubled"),
    *("p50 pause", "p95 pause", "longest pause", "stuck turns"),
)
_MAX_SHOWN = 20


def header() -> str:
    return _line(_HEAD)


def row(outcome: Outcome) -> str:
    numbers = (outcome.fault_count, outcome.answers, outcome.lost, outcome.doubled)
    pauses = (percentile(outcome.pauses, 50), percentile(outcome.pauses, 95), max(outcome.pauses, default=0.0))
    return _line((outcome.fault, *map(str, numbers), *(f"{one:.2f} s" for one in pauses), str(outcome.stuck)))


def skipped(fault: str, reason: str) -> str:
    return f"{fault:{_WIDTHS[0]}} | not run: {reason}"


def violations(outcomes: Iterable[Outcome]) -> str:
    """One line for each broken promise; empty if none was broken."""
    lines = [f"{outcome.fault}: {one}" for outcome in outcomes for one in outcome.violations]
    more = [f"and {len(lines) - _MAX_SHOWN} more"] if len(lines) > _MAX_SHOWN else []
    return "\n".join([*lines[:_MAX_SHOWN], *more])


def percentile(seconds: Sequence[float], percent: int) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] if len(seconds) > 1 else sum(seconds)


def _line(cells: Sequence[str]) -> str:
    name, *rest = cells
    aligned = (f"{cell:>{width}}" for cell, width in zip(rest, _WIDTHS[1:], strict=True))
    return " | ".join([f"{name:{_WIDTHS[0]}}", *aligned])
