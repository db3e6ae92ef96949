"""When tokens are generated and faults are triggered, on a clock that the test advances."""

from engines.scripted.generation import Generation
from engines.scripted.run import Run, State, Timing
from engines.scripted.script import Cut, Failure, Stall


class Recorder:
    """An output that records which tokens were sent together."""

    def __init__(self) -> None:
        self.is_congested = False
        self.sent: list[str] = []
        self._pending: list[str] = []

    def write(self, start: int, stop: int) -> None:
        self._pending.append(f"{start}-{stop}")

    def flush(self) -> None:
        self.sent += self._pending
        self._pending.clear()

    def finish(self, start: int) -> None:
        self.flush()
        self.sent.append(f"{start}-end")

    def fail(self) -> None:
        self.sent.append("failed")

    def cut(self, start: int, cut: Cut) -> None:
        self.sent.append(f"cut {cut.by} at {start}")


def started_run(
    output: Recorder, tokens: int, *faults: Stall | Cut | Failure, first: float = 0, pace: float = 1, interval: int = 1
) -> Run:
    generation = Generation((), tuple(range(tokens)), ("",) * tokens, "stop", None)
    run = Run(generation, Timing(first, pace, interval), faults, output)
    run.start(0)
    return run


def step_at(run: Run, *times: float) -> None:
    for now in times:
        run.step(now)


def test_nothing_is_generated_before_the_first_token_is_due() -> None:
    output = Recorder()
    run = started_run(output, 3, first=1.5)
    step_at(run, 0, 1.4)
    assert (output.sent, run.due) == ([], 1.5)


def test_each_token_is_generated_when_it_is_due() -> None:
    output = Recorder()
    run = started_run(output, 3, first=0.5, pace=0.25)
    step_at(run, 0.5)
    assert (output.sent, run.due, run.state) == (["0-1"], 0.75, State.RUNNING)
    step_at(run, 0.75, 1.0)
    assert (output.sent, run.state) == (["0-1", "1-2", "2-end"], State.FINISHED)


def test_a_late_engine_catches_up_event_by_event() -> None:
    output = Recorder()
    step_at(started_run(output, 9), 3)
    assert output.sent == ["0-1", "1-2", "2-3", "3-4"]


def test_an_unpaced_answer_does_not_starve_the_others() -> None:
    output = Recorder()
    run = started_run(output, 1000, pace=0)
    step_at(run, 0)
    assert 0 < run.token_count < 1000
    assert run.due == 0


def test_an_interval_groups_tokens_but_delays_neither_the_first_nor_the_last() -> None:
    output = Recorder()
    step_at(started_run(output, 9, interval=3), *range(9))
    assert output.sent == ["0-1", "1-4", "4-7", "7-end"]


def test_a_slow_reader_receives_all_missed_tokens_in_one_event() -> None:
    output = Recorder()
    run = started_run(output, 9)
    output.is_congested = True
    step_at(run, 0, 1, 2)
    assert output.sent == []
    output.is_congested = False
    step_at(run, 3, 4)
    assert output.sent == ["0-4", "4-5"]


def test_a_stall_delays_the_token_after_it_and_all_later_ones() -> None:
    output = Recorder()
    run = started_run(output, 5, Stall(after=2, seconds=10))
    step_at(run, 0, 1, 2)
    assert (output.sent, run.due) == (["0-1", "1-2"], 12)
    step_at(run, 12, 13)
    assert output.sent == ["0-1", "1-2", "2-3", "3-4"]


def test_faults_are_triggered_in_the_order_of_their_tokens() -> None:
    output = Recorder()
    step_at(started_run(output, 9, Failure(after=3), Stall(after=1, seconds=0.5)), 0, 1, 1.5, 2.5, 3.5)
    assert output.sent == ["0-1", "1-2", "2-3", "failed"]


def test_a_cut_ends_the_run_with_what_was_sent() -> None:
    output = Recorder()
    run = started_run(output, 9, Cut(after=2, by="reset"))
    step_at(run, 0, 1, 2)
    assert (output.sent, run.state, run.token_count) == (["0-1", "1-2", "cut reset at 2"], State.CUT, 2)


def test_a_cut_before_the_first_token_sends_none() -> None:
    output = Recorder()
    step_at(started_run(output, 9, Cut(after=0)), 0)
    assert output.sent == ["cut close at 0"]


def test_a_fault_after_the_last_token_is_never_triggered() -> None:
    output = Recorder()
    run = started_run(output, 2, Cut(after=2), Failure(after=7))
    step_at(run, 0, 1)
    assert (output.sent, run.state) == (["0-1", "1-end"], State.FINISHED)


def test_a_state_is_final_once_no_more_tokens_can_follow() -> None:
    assert {state for state in State if state.is_final} == {State.FINISHED, State.FAILED, State.CUT, State.ABANDONED}
