from gateway.runtime.retry_policy import Backoff

LONG_SECONDS = 600.0
MAX_CRASHES = 5


def delays(backoff: Backoff, count: int, *, crashed: bool = False) -> list[float | None]:
    """Of `count` failures without progress."""
    return [backoff.next_delay(progressed=False, crashed=crashed) for _ in range(count)]


def test_two_failures_are_retried_at_once_and_later_delays_grow_to_one_second() -> None:
    assert delays(Backoff(LONG_SECONDS), 6) == [0.0, 0.0, 0.5, 1.0, 1.0, 1.0]


def test_polling_an_unhealthy_engine_starts_fast_and_slows_down_to_one_second() -> None:
    backoff = Backoff(LONG_SECONDS)
    seconds = [backoff.seconds]
    for _ in range(5):
        backoff.next_delay(progressed=False)
        seconds.append(backoff.seconds)
    assert seconds == [0.1, 0.1, 0.2, 0.5, 1.0, 1.0]


def test_after_progress_the_delays_start_again() -> None:
    backoff = Backoff(LONG_SECONDS)
    delays(backoff, 5)
    assert backoff.next_delay(progressed=True) == 0.0
    assert backoff.seconds == 0.1
    assert delays(backoff, 3) == [0.0, 0.5, 1.0]


def test_the_first_failure_is_retried_and_the_next_one_after_the_deadline_is_not() -> None:
    assert delays(Backoff(0.0), 3) == [0.0, None, None]


def test_progress_renews_the_deadline() -> None:
    backoff = Backoff(0.0)
    assert delays(backoff, 2) == [0.0, None]
    assert backoff.next_delay(progressed=True) == 0.0
    assert delays(backoff, 1) == [None]


def test_a_request_that_crashes_the_engine_is_given_up_long_before_the_deadline() -> None:
    *retried, last = delays(Backoff(LONG_SECONDS), MAX_CRASHES + 1, crashed=True)
    assert None not in retried
    assert last is None


def test_after_progress_crashes_are_counted_from_the_start() -> None:
    backoff = Backoff(LONG_SECONDS)
    delays(backoff, MAX_CRASHES, crashed=True)
    assert backoff.next_delay(progressed=True, crashed=True) == 0.0
    *retried, last = delays(backoff, MAX_CRASHES, crashed=True)
    assert None not in retried
    assert last is None


def test_other_failures_are_no_crashes_and_do_not_reset_their_count() -> None:
    backoff = Backoff(LONG_SECONDS)
    delays(backoff, MAX_CRASHES, crashed=True)
    assert None not in delays(backoff, 2 * MAX_CRASHES)
    assert delays(backoff, 1, crashed=True) == [None]
