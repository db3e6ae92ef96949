"""What a log needs to be whole again, however much of its end is lost."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gateway.inference import OutputDelta, TextDelta
from gateway.protocol.resources import WindowUse
from gateway.turn.log import TurnLog
from gateway.turn.log_entry import LogEntry, StoredEntry, decode_frame, prompt_tokens, token_ids
from gateway.turn.records import ReplayedEvents
from gateway.turn.state_machine import Completed, Created
from tests.gateway.builders import answer_deltas, turn


def stored(entries: Sequence[LogEntry]) -> list[StoredEntry]:
    return [(entry.id.encode(), entry.fields()) for entry in entries]


def replayed(entries: Sequence[StoredEntry]) -> ReplayedEvents:
    return ReplayedEvents(entries, [decode_frame(*entry) for entry in entries], 0, None)


def published(deltas: Sequence[OutputDelta]) -> tuple[TurnLog, list[LogEntry]]:
    """A log without its terminal event, and its entries."""
    log, entries = TurnLog(turn(), lambda _: None), list[LogEntry]()
    log.append(Created())
    log.append(WindowUse(0, 5, 4096))
    log.record_prompt_tokens(7)
    for delta in deltas:
        log.append(delta)
        entries += (drained := log.drain())
        log.publish(drained)
    return log, entries


@given(answer_deltas(), st.integers(0, 40))
def test_what_was_lost_is_stored_again_with_all_its_token_ids(deltas: list[OutputDelta], left: int) -> None:
    log, entries = published(deltas)
    kept = stored(entries[:left])
    waiting = log.finish(Completed(None, 1))
    missing = log.missing_from(replayed(kept), waiting)
    assert missing is not None
    restored = kept + stored(missing)
    assert list(replayed(restored).frames) == [entry.frame for entry in [*entries, *waiting]]
    before, after = ([fields for _, fields in one] for one in (stored(entries), restored))
    assert token_ids(after) == token_ids(before)
    assert prompt_tokens(after) == prompt_tokens(before)


def test_ids_that_were_generated_again_are_not_stored_twice() -> None:
    log, entries = published([TextDelta("a", (1, 2, 3))])
    log.drop_token_ids(2)
    log.append(TextDelta("b", (4, 5)))
    entries += (drained := log.drain())
    log.publish(drained)
    for left in range(len(entries)):
        kept = stored(entries[:left])
        assert token_ids(fields for _, fields in kept + stored(log.missing_from(replayed(kept), []) or [])) == [1, 4, 5]


def test_a_log_with_other_events_cannot_be_restored() -> None:
    log, _ = published([TextDelta("mine", (1,))])
    _, others = published([TextDelta("theirs", (1,))])
    assert log.missing_from(replayed(stored(others)), []) is None
    assert not log.agrees_with(replayed(stored(others)))


def test_what_already_waits_in_redis_is_not_stored_again() -> None:
    log, entries = published([TextDelta("a", (1,))])
    waiting = log.finish(Completed(None, 1))
    assert log.missing_from(replayed(stored([*entries, *waiting[:1]])), waiting) == waiting[1:]
