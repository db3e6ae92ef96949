from tests.chaos import report
from tests.chaos.outcome import Outcome


def test_the_table_tells_what_was_lost_and_how_long_anybody_waited() -> None:
    outcome = Outcome("redis kill -9", strikes=5, answers=20, lost=3, doubled=1, stuck=2, pauses=[0.1] * 99 + [2.5])
    cells = [cell.strip() for cell in report.row(outcome).split("|")]
    assert cells == ["redis kill -9", "5", "20", "3", "1", "0.10 s", "0.10 s", "2.50 s", "2"]


def test_every_promise_that_was_not_kept_is_told_up_to_a_screenful() -> None:
    outcomes = [Outcome("a", broken=["P1 one"]), Outcome("b", broken=["P2 two"] * 30)]
    lines = report.broken(outcomes).splitlines()
    assert lines[:2] == ["a: P1 one", "b: P2 two"]
    assert lines[-1] == "and 11 more"


def test_what_was_not_run_is_in_the_table_with_the_reason() -> None:
    assert report.left_out("redis power cut", "needs root").endswith("| not run: needs root")
