"""A turn's events before they are stored. Most tests run no writer and drain the log themselves."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.errors import EngineFailed, InternalError, Unavailable
from gateway.inference import OutputDelta, ReasoningTextDelta, TextDelta, ToolCallDelta
from gateway.protocol.events import OutputTextDelta
from gateway.protocol.items import FunctionCall, OutputItem
from gateway.protocol.resources import WindowUse
from gateway.turn.log import TurnLog
from gateway.turn.log_entry import LogEntry, token_ids
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.state_machine import Completed, Created, Failed
from tests.gateway.builders import add_records, answer_deltas, background_task, keys_of, log_writer, turn

COMPLETED = Completed(None, 1)


def new_log() -> TurnLog:
    log = TurnLog(turn(), lambda _: None)
    log.append(Created())
    log.append(WindowUse(0, 5, 4096))
    return log


def logged_ids(entries: Sequence[LogEntry]) -> list[int]:
    return token_ids(entry.fields() for entry in entries)


def test_an_error_in_the_last_deltas_fails_the_turn() -> None:
    log = new_log()
    for index in range(MAX_OUTPUT_ITEMS + 1):
        log.append(ToolCallDelta(index, "{}", "f"))
    ending = json.loads(log.finish(COMPLETED)[-1].frame)
    assert (ending["type"], ending["response"]["error"]["code"]) == ("response.failed", "model_error")


def test_a_failure_keeps_its_code_after_an_earlier_error() -> None:
    log = new_log()
    log.append(ToolCallDelta(0, "{}"))
    ending = json.loads(log.finish(Failed(Unavailable("vllm")))[-1].frame)
    assert ending["response"]["error"]["code"] == "service_unavailable"


def test_a_bug_becomes_an_internal_error_without_its_message() -> None:
    log = new_log()
    log.append(TextDelta(5))  # type: ignore[arg-type]
    log.drain()
    with pytest.raises(InternalError) as caught:
        log.append(TextDelta("more"))
    assert "int" not in caught.value.message


def run_batched(deltas: Sequence[OutputDelta], cuts: Sequence[bool]) -> tuple[list[LogEntry], Sequence[OutputItem]]:
    """The entries of a turn whose log is drained after each delta with a cut."""
    log = new_log()
    entries = log.drain()
    for delta, cut in zip(deltas, cuts, strict=False):
        log.append(delta)
        if cut:
            entries += log.drain()
    entries += [*log.drain(), *log.finish(COMPLETED)]
    assert log.turn.outcome is not None
    return entries, log.turn.outcome.output


def contents(items: Sequence[OutputItem]) -> list[object]:
    """Without their random ids."""
    return [
        (item.name, item.arguments)
        if isinstance(item, FunctionCall)
        else (type(item), [one.text for one in item.content])
        for item in items
    ]


@given(answer_deltas(), st.lists(st.booleans(), min_size=100, max_size=100))
def test_the_answer_is_the_same_however_deltas_are_batched(deltas: list[OutputDelta], cuts: list[bool]) -> None:
    whole = [*deltas, TextDelta(".", (46,))]
    entries, items = run_batched(whole, cuts)
    one_by_one, same = run_batched(whole, [True] * 100)
    assert contents(items) == contents(same)
    assert [entry.event.sequence_number for entry in entries] == list(range(len(entries)))
    ids = [one for delta in whole for one in delta.token_ids]
    assert [one for entry in entries for one in entry.token_ids] == ids
    assert [one for entry in one_by_one for one in entry.token_ids] == ids


def test_token_ids_of_a_delta_without_text_are_stored_with_the_next_text() -> None:
    entries, _ = run_batched([TextDelta("a", (1,)), TextDelta("", (2,)), TextDelta("你", (3,))], [True] * 3)
    assert [entry.token_ids for entry in entries if isinstance(entry.event, OutputTextDelta)] == [(1,), (2, 3)]


@pytest.mark.parametrize("kind", [TextDelta, ReasoningTextDelta])
def test_a_log_never_ends_inside_a_character(kind: type[TextDelta] | type[ReasoningTextDelta]) -> None:
    entries, _ = run_batched([kind("a", (1,)), kind("", (2,)), kind("你", (3,))], [False, True, True])
    assert [entry.token_ids for entry in entries if entry.token_ids] == [(1,), (2, 3)]


def test_ids_dropped_before_they_are_drained_leave_no_trace() -> None:
    log = new_log()
    for delta in (TextDelta("a", (1,)), TextDelta("", (2, 3))):
        log.append(delta)
    entries = log.drain()
    log.drop_token_ids(2)
    log.append(TextDelta("你", (4,)))
    assert logged_ids([*entries, *log.drain()]) == [1, 4]


def test_drained_ids_can_be_dropped_too() -> None:
    log = new_log()
    log.append(TextDelta("a", (1, 2, 3)))
    entries = log.drain()
    log.append(TextDelta("", (4,)))
    log.drop_token_ids(3)  # the waiting one and the last two that were drained
    log.append(TextDelta("b", (5,)))
    assert logged_ids([*entries, *log.drain()]) == [1, 5]


async def test_a_log_is_flushed_when_all_visible_deltas_are_stored(port: int) -> None:
    async with Redis(port=port) as redis:
        await add_records(redis, ("user_1", "resp_1"))
        writer = log_writer(redis)
        log = writer.open(turn())
        log.append(Created())
        log.append(TextDelta("a", (1,)))
        log.append(TextDelta("", (2,)))
        async with background_task(writer.run()):
            await log.wait_flushed()
        assert len(log.events) == await redis.xlen(keys_of(log)[-1]) == 4


async def test_waiting_for_a_flush_raises_a_rendering_error(port: int) -> None:
    async with Redis(port=port) as redis:
        await add_records(redis, ("user_1", "resp_1"))
        writer = log_writer(redis)
        log = writer.open(turn())
        log.append(ToolCallDelta(0, "{}"))
        async with background_task(writer.run()):
            with pytest.raises(EngineFailed):
                await log.wait_flushed()


async def test_a_fenced_off_log_publishes_nothing_more_and_notifies_its_turn() -> None:
    log, notifications = new_log(), list[str]()
    log.on_fenced_off(lambda: notifications.append("lost"))
    log.publish(log.drain())
    shown = len(log.events)
    log.append(TextDelta("more"))
    log.fence_off()
    log.publish(log.drain())
    await log.wait_flushed()
    assert (log.events.is_closed, log.events.is_complete) == (True, False)
    assert (len(log.events), notifications) == (shown, ["lost"])
