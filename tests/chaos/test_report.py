from tests.chaos import report
from tests.chaos.outcome import Outcome


def test_a_row_has_the_lost_tokens_and_the_pauses() -> None:
    outcome = Outcome("redis kill -9", fault_count=5, answers=20, lost=3, doubled=1, stuck=2, pauses=[0.1] * 99 + [2.5])
    cells = [cell.strip() for cell in report.row(outcome).split("|")]
    assert cells == ["redis kill -9", "5", "20", "3", "1", "0.10 s", "0.10 s", "2.50 s", "2"]


def test_every_violation_is_listed_up_to_a_limit() -> None:
    outcomes = [Outcome("a", violations=["P1 one"]), Outcome("b", violations=["P2 two"] * 30)]
    lines = report.violations(outcomes).splitlines()
    assert lines[:2] == ["a: P1 one", "b: P2 two"]
    assert lines[-1] == "and 11 more"


def test_a_skipped_fault_is_in_the_table_with_the_reason() -> None:
    assert report.skipped("redis power cut", "needs root").endswith("| not run: needs root")
