"""When tokens are made and when faults strike, with a clock that the test moves."""

from engines.scripted.generation import Generation
from engines.scripted.run import Run, State, Tempo
from engines.scripted.script import Cut, Failure, Stall


class Recorder:
    """An output that remembers which tokens left together."""

    def __init__(self) -> None:
        self.behind = False
        self.told: list[str] = []
        self._pending: list[str] = []

    def write(self, start: int, stop: int) -> None:
        self._pending.append(f"{start}-{stop}")

    def flush(self) -> None:
        self.told += self._pending
        self._pending.clear()

    def finish(self, start: int) -> None:
        self.flush()
        self.told.append(f"{start}-end")

    def fail(self) -> None:
        self.told.append("failed")

    def cut(self, start: int, cut: Cut) -> None:
        self.told.append(f"cut {cut.by} at {start}")


def begun(
    output: Recorder, tokens: int, *faults: Stall | Cut | Failure, first: float = 0, pace: float = 1, interval: int = 1
) -> Run:
    generation = Generation((), tuple(range(tokens)), ("",) * tokens, "stop", None)
    run = Run(generation, Tempo(first, pace, interval), faults, output)
    run.begin(0)
    return run


def at(run: Run, *times: float) -> None:
    for now in times:
        run.step(now)


def test_nothing_is_made_before_the_first_token_is_due() -> None:
    output = Recorder()
    run = begun(output, 3, first=1.5)
    at(run, 0, 1.4)
    assert (output.told, run.due) == ([], 1.5)


def test_each_token_is_made_when_it_is_due() -> None:
    output = Recorder()
    run = begun(output, 3, first=0.5, pace=0.25)
    at(run, 0.5)
    assert (output.told, run.due, run.state) == (["0-1"], 0.75, State.RUNNING)
    at(run, 0.75, 1.0)
    assert (output.told, run.state) == (["0-1", "1-2", "2-end"], State.FINISHED)


def test_a_late_engine_makes_up_for_lost_time_event_by_event() -> None:
    output = Recorder()
    at(begun(output, 9), 3)
    assert output.told == ["0-1", "1-2", "2-3", "3-4"]


def test_an_unpaced_answer_leaves_others_a_turn() -> None:
    output = Recorder()
    run = begun(output, 1000, pace=0)
    at(run, 0)
    assert 0 < run.made < 1000
    assert run.due == 0


def test_an_interval_gathers_tokens_but_neither_the_first_nor_the_last_wait() -> None:
    output = Recorder()
    at(begun(output, 9, interval=3), *range(9))
    assert output.told == ["0-1", "1-4", "4-7", "7-end"]


def test_a_slow_reader_finds_all_it_missed_in_one_event() -> None:
    output = Recorder()
    run = begun(output, 9)
    output.behind = True
    at(run, 0, 1, 2)
    assert output.told == []
    output.behind = False
    at(run, 3, 4)
    assert output.told == ["0-4", "4-5"]


def test_a_stall_delays_the_token_after_it_and_all_later_ones() -> None:
    output = Recorder()
    run = begun(output, 5, Stall(after=2, seconds=10))
    at(run, 0, 1, 2)
    assert (output.told, run.due) == (["0-1", "1-2"], 12)
    at(run, 12, 13)
    assert output.told == ["0-1", "1-2", "2-3", "3-4"]


def test_faults_strike_in_the_order_of_their_tokens() -> None:
    output = Recorder()
    at(begun(output, 9, Failure(after=3), Stall(after=1, seconds=0.5)), 0, 1, 1.5, 2.5, 3.5)
    assert output.told == ["0-1", "1-2", "2-3", "failed"]


def test_a_cut_ends_the_run_with_what_was_sent() -> None:
    output = Recorder()
    run = begun(output, 9, Cut(after=2, by="reset"))
    at(run, 0, 1, 2)
    assert (output.told, run.state, run.made) == (["0-1", "1-2", "cut reset at 2"], State.CUT, 2)


def test_a_cut_before_the_first_token_sends_none() -> None:
    output = Recorder()
    at(begun(output, 9, Cut(after=0)), 0)
    assert output.told == ["cut close at 0"]


def test_a_fault_behind_the_last_token_never_strikes() -> None:
    output = Recorder()
    run = begun(output, 2, Cut(after=2), Failure(after=7))
    at(run, 0, 1)
    assert (output.told, run.state) == (["0-1", "1-end"], State.FINISHED)


def test_states_are_over_once_nothing_more_will_come() -> None:
    assert {state for state in State if state.over} == {State.FINISHED, State.FAILED, State.CUT, State.ABANDONED}
