"""A turn's events before they are kept; the writer is never run here, what is taken is what it would get."""

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
from gateway.store.turn_log.writer import Writer
from gateway.turn.log import TurnLog
from gateway.turn.log_entry import LogEntry, token_ids
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.state_machine import Completed, Created, Failed
from tests.gateway.builders import answer_deltas, background_task, keys_of, turn

COMPLETED = Completed(None, 1)


def begin() -> TurnLog:
    log = Writer(Redis(), retention_seconds=1).open(turn())
    log.append(Created())
    log.append(WindowUse(0, 5, 4096))
    return log


def kept(entries: Sequence[LogEntry]) -> list[int]:
    return token_ids(entry.fields() for entry in entries)


def test_an_error_in_the_last_deltas_fails_the_turn() -> None:
    log = begin()
    for index in range(MAX_OUTPUT_ITEMS + 1):
        log.append(ToolCallDelta(index, "{}", "f"))
    ending = json.loads(log.finish(COMPLETED)[-1].frame)
    assert (ending["type"], ending["response"]["error"]["code"]) == ("response.failed", "model_error")


def test_a_failure_keeps_its_code_after_an_earlier_error() -> None:
    log = begin()
    log.append(ToolCallDelta(0, "{}"))
    ending = json.loads(log.finish(Failed(Unavailable("vllm")))[-1].frame)
    assert ending["response"]["error"]["code"] == "service_unavailable"


def test_a_bug_becomes_an_internal_error_without_its_message() -> None:
    log = begin()
    log.append(TextDelta(5))  # type: ignore[arg-type]
    log.drain()
    with pytest.raises(InternalError) as caught:
        log.append(TextDelta("more"))
    assert "int" not in caught.value.message


def batched(pieces: Sequence[OutputDelta], cuts: Sequence[bool]) -> tuple[list[LogEntry], Sequence[OutputItem]]:
    """The entries of a turn whose pieces were taken wherever a cut is."""
    log = begin()
    entries = log.drain()
    for piece, cut in zip(pieces, cuts, strict=False):
        log.append(piece)
        if cut:
            entries += log.drain()
    entries += [*log.drain(), *log.finish(COMPLETED)]
    assert log.turn.outcome is not None
    return entries, log.turn.outcome.output


def told(items: Sequence[OutputItem]) -> list[object]:
    """Without the ids, which are random."""
    return [
        (item.name, item.arguments)
        if isinstance(item, FunctionCall)
        else (type(item), [one.text for one in item.content])
        for item in items
    ]


@given(answer_deltas(), st.lists(st.booleans(), min_size=100, max_size=100))
def test_the_answer_is_the_same_however_deltas_are_batched(pieces: list[OutputDelta], cuts: list[bool]) -> None:
    whole = [*pieces, TextDelta(".", (46,))]
    entries, items = batched(whole, cuts)
    one_by_one, same = batched(whole, [True] * 100)
    assert told(items) == told(same)
    assert [entry.event.sequence_number for entry in entries] == list(range(len(entries)))
    ids = [one for piece in whole for one in piece.token_ids]
    assert [one for entry in entries for one in entry.token_ids] == ids
    assert [one for entry in one_by_one for one in entry.token_ids] == ids


def test_token_ids_of_a_delta_without_text_are_stored_with_the_next_text() -> None:
    entries, _ = batched([TextDelta("a", (1,)), TextDelta("", (2,)), TextDelta("你", (3,))], [True] * 3)
    assert [entry.token_ids for entry in entries if isinstance(entry.event, OutputTextDelta)] == [(1,), (2, 3)]


@pytest.mark.parametrize("kind", [TextDelta, ReasoningTextDelta])
def test_a_log_never_ends_inside_a_character(kind: type[TextDelta] | type[ReasoningTextDelta]) -> None:
    entries, _ = batched([kind("a", (1,)), kind("", (2,)), kind("你", (3,))], [False, True, True])
    assert [entry.token_ids for entry in entries if entry.token_ids] == [(1,), (2, 3)]


def test_ids_dropped_before_they_are_drained_leave_no_trace() -> None:
    log = begin()
    for piece in (TextDelta("a", (1,)), TextDelta("", (2, 3))):
        log.append(piece)
    entries = log.drain()
    log.drop_token_ids(2)
    log.append(TextDelta("你", (4,)))
    assert kept([*entries, *log.drain()]) == [1, 4]


def test_drained_ids_can_be_dropped_too() -> None:
    log = begin()
    log.append(TextDelta("a", (1, 2, 3)))
    entries = log.drain()
    log.append(TextDelta("", (4,)))
    log.drop_token_ids(3)  # the one that waits and the last two that were kept
    log.append(TextDelta("b", (5,)))
    assert kept([*entries, *log.drain()]) == [1, 5]


async def test_a_log_is_flushed_when_all_visible_deltas_are_stored(port: int) -> None:
    async with Redis(port=port) as redis:
        writer = Writer(redis, retention_seconds=60)
        log = writer.open(turn())
        log.append(Created())
        log.append(TextDelta("a", (1,)))
        log.append(TextDelta("", (2,)))
        async with background_task(writer.run()):
            await log.wait_flushed()
        assert len(log.events) == await redis.xlen(keys_of(log)[-1]) == 4


async def test_waiting_for_a_flush_raises_a_rendering_error(port: int) -> None:
    async with Redis(port=port) as redis:
        writer = Writer(redis, retention_seconds=60)
        log = writer.open(turn())
        log.append(ToolCallDelta(0, "{}"))
        async with background_task(writer.run()):
            with pytest.raises(EngineFailed):
                await log.wait_flushed()


async def test_a_fenced_off_log_publishes_nothing_more_and_notifies_once() -> None:
    log, told = begin(), list[str]()
    log.on_fenced_off(lambda: told.append("lost"))
    log.publish(log.drain())
    shown = len(log.events)
    log.append(TextDelta("more"))
    log.fence_off()
    log.publish(log.drain())
    await log.wait_flushed()
    assert (len(log.events), log.events.is_closed, log.events.is_complete, told) == (shown, True, False, ["lost"])
