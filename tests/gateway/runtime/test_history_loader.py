"""What a turn continues from, over a thread in memory."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import ContextLengthExceeded, InvalidRequest, NotFound, PreviousResponseNotFound, StorageLimit
from gateway.inference import OutputOptions
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_conversation_id, new_thread_id, position_in
from gateway.protocol.input_items import InputMessage
from gateway.protocol.items import FunctionCall, FunctionCallOutput, Item
from gateway.protocol.resources import ResponseStatus
from gateway.runtime.history_loader import HistoryLoader, UnstoredHistory
from gateway.turn.limits import MAX_READ_BYTES, MAX_RUNS
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import Path, Run, StoredResponse, ThreadSnapshot
from gateway.turn.turn_request import TurnRequest
from tests.gateway.builders import SAMPLING, turn
from tests.gateway.items import answer, question

USER = "user_1"
THREAD, CONVERSATION = new_thread_id(), new_conversation_id()
NOTHING: UnstoredHistory = {}
CALL = FunctionCall(f"fc_{1:08x}{0:024x}", "call_1", "add", "{}", "completed")
OUTPUT = FunctionCallOutput(f"fco_{9:08x}{0:024x}", "call_1", "2", "completed")


class FakeStore:
    """One thread of `items`, of which the last `recent` are read first."""

    def __init__(self, *items: Item, recent: int = 100, ancestry: Path = ()) -> None:
        self.items = list(items)
        self.recent = recent
        self.ancestry = ancestry
        self.reserved: list[tuple[str, int]] = []
        self.loads = 0
        self.out_of_reach = 0

    async def reserve(self, user_id: str, thread_id: str, count: int) -> ThreadSnapshot:
        self.reserved.append((thread_id, count))
        read = self.items[-self.recent :]
        return ThreadSnapshot(read, len(self.items) + 1, older_count=len(self.items) - len(read))

    async def open(self, user_id: str, thread_id: str, last: int) -> ThreadSnapshot:
        path = (*self.ancestry, Run(thread_id, last))
        snapshot = ThreadSnapshot([], last + 1, path=path)
        return replace(snapshot, older_count=len(await self.read(user_id, snapshot)))

    async def load_recent(self, user_id: str, snapshot: ThreadSnapshot) -> ThreadSnapshot:
        return await self.load_older(user_id, snapshot, self.recent)

    async def load_head(self, user_id: str, snapshot: ThreadSnapshot) -> ThreadSnapshot:
        return snapshot

    async def load_older(self, user_id: str, snapshot: ThreadSnapshot, count: int) -> ThreadSnapshot:
        self.loads += 1
        oldest = max(0, snapshot.older_count - count)
        items = (await self.read(user_id, snapshot))[oldest:]
        return replace(snapshot, items=items, older_count=oldest)

    async def read_until(self, user_id: str, thread_id: str, last: int) -> ThreadSnapshot:
        snapshot = await self.open(user_id, thread_id, last)
        return replace(snapshot, items=await self.read(user_id, snapshot), older_count=self.out_of_reach)

    async def read(self, user_id: str, snapshot: ThreadSnapshot, *, since: int = 0) -> list[Item]:
        return [item for item in self.items if since <= (position_in(item.id) or 0) < snapshot.next_position]


class FakeResponses:
    def __init__(self, *stored: StoredResponse) -> None:
        self._stored = {one.response.id: one for one in stored}

    async def find(self, user_id: str, response_id: str) -> StoredResponse:
        try:
            return self._stored[response_id]
        except KeyError:
            raise NotFound("response") from None


def stored_response(
    last_position: int, thread_id: str = THREAD, status: ResponseStatus = "completed"
) -> StoredResponse:
    response = turn(response_id="resp_0").response(status)
    return StoredResponse(response, (), "", thread_id, last_position, last_position, "g1", 0)


def loader(store: FakeStore, *stored: StoredResponse) -> HistoryLoader:
    return HistoryLoader(store, FakeResponses(*stored))


def create(**fields: Any) -> ResponseCreate:
    return ResponseCreate(**({"input": (InputMessage("user", "one"), InputMessage("user", "two"))} | fields))


def positions(items: Sequence[Item]) -> list[int | None]:
    return [position_in(item.id) for item in items]


ITEMS = (question(1), answer(2), question(3), answer(4))


async def test_a_turn_without_a_history_starts_a_chain_unless_it_is_not_stored() -> None:
    first = await loader(FakeStore()).load(USER, create(), NOTHING)
    second = await loader(FakeStore()).load(USER, create(), NOTHING)
    unstored = await loader(FakeStore()).load(USER, create(store=False), NOTHING)
    assert (first.items, first.snapshot.next_position) == ((), 1)
    assert first.thread_id != second.thread_id
    assert unstored.thread_id is None


async def test_positions_for_input_and_output_are_reserved_in_a_conversation() -> None:
    store = FakeStore(*ITEMS)
    history = await loader(store).load(USER, create(conversation=CONVERSATION), NOTHING)
    assert (history.thread_id, history.items) == (CONVERSATION, ITEMS)
    assert store.reserved == [(CONVERSATION, 2 + MAX_OUTPUT_ITEMS)]


@pytest.mark.parametrize(
    ("thread_id", "last", "store"),
    [(THREAD, 2, True), (THREAD, 4, True), (CONVERSATION, 4, True), (THREAD, 4, False)],
    ids=["an earlier response", "the last response", "a response of a conversation", "a turn that is not stored"],
)
async def test_a_response_is_continued_without_reserving_anything(thread_id: str, last: int, store: bool) -> None:
    reader = FakeStore(*ITEMS)
    history = await loader(reader, stored_response(last, thread_id)).load(
        USER, create(previous_response_id="resp_0", store=store), NOTHING
    )
    assert (history.items, history.snapshot.next_position) == (ITEMS[:last], last + 1)
    assert history.snapshot.path == (Run(thread_id, last),)
    assert (history.thread_id == thread_id) == (thread_id == THREAD and store)
    assert (history.thread_id is not None) == store
    assert reader.reserved == []


async def test_a_turn_that_is_not_stored_reads_all_that_its_connection_has_to_remember() -> None:
    store = FakeStore(*ITEMS, recent=1)
    responses = loader(store, stored_response(4))
    unstored = await responses.load(USER, create(previous_response_id="resp_0", store=False), NOTHING)
    assert unstored.items == ITEMS
    stored = await responses.load(USER, create(previous_response_id="resp_0"), NOTHING)
    assert (stored.items, stored.snapshot.older_count) == (ITEMS[3:], 3)


async def test_a_chain_does_not_branch_off_where_it_already_has_too_many_branches() -> None:
    ancestry = tuple(Run(new_thread_id(), 1) for _ in range(MAX_RUNS - 1))
    store = FakeStore(*ITEMS, ancestry=ancestry)
    with pytest.raises(StorageLimit, match="compact"):
        await loader(store, stored_response(4, CONVERSATION)).load(USER, create(previous_response_id="resp_0"), NOTHING)
    await loader(store, stored_response(4)).load(USER, create(previous_response_id="resp_0"), NOTHING)


async def test_a_chain_longer_than_a_request_reads_is_continued_only_where_items_may_be_left_out() -> None:
    store, request = FakeStore(*ITEMS), create(previous_response_id="resp_0", store=False)
    store.out_of_reach = 7
    with pytest.raises(ContextLengthExceeded):
        await loader(store, stored_response(4)).load(USER, request, NOTHING)
    request = create(previous_response_id="resp_0", store=False, truncation="auto")
    history = await loader(store, stored_response(4)).load(USER, request, NOTHING)
    assert (history.items, history.can_read_more) == (ITEMS, False)


async def test_an_absent_or_running_response_cannot_be_continued() -> None:
    request = create(previous_response_id="resp_0")
    with pytest.raises(PreviousResponseNotFound):
        await loader(FakeStore()).load(USER, request, NOTHING)
    with pytest.raises(InvalidRequest, match="in progress"):
        await loader(FakeStore(), stored_response(4, status="in_progress")).load(USER, request, NOTHING)


async def test_an_unstored_response_is_continued_from_memory_by_an_unstored_turn_only() -> None:
    unstored = {"resp_0": ITEMS}
    history = await loader(FakeStore()).load(USER, create(previous_response_id="resp_0", store=False), unstored)
    assert (history.thread_id, history.items, history.snapshot.next_position) == (None, ITEMS, 5)
    with pytest.raises(InvalidRequest) as caught:
        await loader(FakeStore()).load(USER, create(previous_response_id="resp_0"), unstored)
    assert caught.value.param == "store"


async def test_older_items_are_read_back_to_the_call_that_an_output_answers() -> None:
    store = FakeStore(CALL, *(question(position) for position in range(2, 9)), recent=2)
    history = await loader(store).load(USER, create(conversation=CONVERSATION), NOTHING)
    found = await loader(store).load_calls(USER, history, [OUTPUT])
    assert (found.items[0], store.loads) == (CALL, 1)


async def test_a_call_further_back_than_a_request_reads_is_not_found() -> None:
    store = FakeStore(CALL, *(question(position) for position in range(2, 9)), recent=2)
    history = await loader(store).load(USER, create(conversation=CONVERSATION), NOTHING)
    history = replace(history, snapshot=replace(history.snapshot, read_bytes=MAX_READ_BYTES))
    assert await loader(store).load_calls(USER, history, [OUTPUT]) is history


async def test_without_a_missing_call_no_older_items_are_read() -> None:
    store = FakeStore(*ITEMS, recent=2)
    history = await loader(store).load(USER, create(conversation=CONVERSATION), NOTHING)
    inputs: list[list[Item]] = [[question(5)], [CALL, OUTPUT]]
    for new in inputs:
        assert await loader(store).load_calls(USER, history, new) is history
    assert store.loads == 0


async def test_older_items_are_loaded_by_number_and_an_unstored_history_has_none() -> None:
    store = FakeStore(*ITEMS, recent=1)
    history = await loader(store).load(USER, create(conversation=CONVERSATION), NOTHING)
    assert positions((await loader(store).load_older(USER, history, 2)).items) == [2, 3, 4]
    unstored = await loader(store).load(USER, create(store=False), NOTHING)
    assert await loader(store).load_older(USER, unstored, 2) is unstored


def turn_request(**fields: Any) -> TurnRequest:
    known: dict[str, Any] = {
        "response_id": "resp_1",
        "user_id": USER,
        "model": "parley-demo",
        "sampling": SAMPLING,
        "options": OutputOptions(),
        "created_at": 1,
        "thread_id": THREAD,
    }
    return TurnRequest(**(known | fields))


async def test_a_reloaded_history_has_only_the_items_that_the_turn_continued_from() -> None:
    store = FakeStore(*ITEMS, question(5), answer(6))
    history = await loader(store).reload(turn_request(history_positions=(2, 3), older_count=1), next_position=6)
    assert positions(history.items) == [2, 3]
    assert (history.thread_id, history.snapshot.next_position, history.snapshot.older_count) == (THREAD, 6, 1)


@pytest.mark.parametrize(("known", "expected"), [(None, [1, 2, 3, 4]), ((), [])])
async def test_a_turn_of_an_earlier_version_reloads_every_item_before_its_own(
    known: tuple[int, ...] | None, expected: list[int]
) -> None:
    store = FakeStore(*ITEMS, question(5))
    history = await loader(store).reload(turn_request(history_positions=known), next_position=5)
    assert positions(history.items) == expected


async def test_the_history_of_an_unstored_turn_is_gone_after_a_reload() -> None:
    history = await loader(FakeStore(*ITEMS)).reload(turn_request(thread_id=None), next_position=5)
    assert (history.thread_id, history.items, history.snapshot.next_position) == (None, (), 5)
