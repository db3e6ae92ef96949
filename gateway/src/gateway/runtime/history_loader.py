"""What a turn continues from: a conversation, a chain of responses, or what its connection remembers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.context.tool_calls import call_ids
from gateway.errors import ContextLengthExceeded, InvalidRequest, NotFound, PreviousResponseNotFound
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_thread_id, position_in
from gateway.protocol.items import FunctionCallOutput, Item
from gateway.runtime.ports import HistoryReader, ResponseStore
from gateway.turn.limits import MAX_READ_BYTES, RECENT_ITEMS, check_branch_limit, check_item_limit
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import ThreadSnapshot
from gateway.turn.turn_request import TurnRequest

UnstoredHistory = Mapping[str, tuple[Item, ...]]
"""The items up to a response that is not stored, by its id."""


@dataclass(frozen=True, slots=True)
class LoadedHistory:
    """`thread_id` is where the new items go, None when they are not stored."""

    thread_id: str | None
    snapshot: ThreadSnapshot

    @property
    def items(self) -> tuple[Item, ...]:
        """As far as they were read."""
        return (*self.snapshot.head, *self.snapshot.items)

    @property
    def can_read_more(self) -> bool:
        """Older items, without exceeding what one request reads."""
        snapshot = self.snapshot
        return self.thread_id is not None and snapshot.older_count > 0 and snapshot.read_bytes < MAX_READ_BYTES


class HistoryLoader:
    """Every method raises Unavailable when the store is not reachable."""

    def __init__(self, store: HistoryReader, responses: ResponseStore) -> None:
        self._store = store
        self._responses = responses

    async def load(self, user_id: str, create: ResponseCreate, unstored: UnstoredHistory) -> LoadedHistory:
        """In a conversation it reserves the positions of the new items too.

        Raises NotFound, PreviousResponseNotFound or InvalidRequest.
        """
        if create.conversation_id is not None:
            count = len(create.items) + MAX_OUTPUT_ITEMS
            snapshot = await self._store.reserve(user_id, create.conversation_id, count)
            return LoadedHistory(create.conversation_id, snapshot)
        previous = create.previous_response_id
        if previous is None:
            return LoadedHistory(new_thread_id() if create.stored else None, ThreadSnapshot([], 1))
        if previous in unstored:
            if create.stored:
                raise InvalidRequest("the previous response was not stored; send `store: false`", param="store")
            return LoadedHistory(None, _snapshot_of(unstored[previous]))
        return await self._load_chain(user_id, previous, create)

    async def load_calls(self, user_id: str, history: LoadedHistory, new: Sequence[Item]) -> LoadedHistory:
        """Reads back to the function calls that the new items answer, as far as a request ever reads."""
        answered = {item.call_id for item in new if isinstance(item, FunctionCallOutput)}
        while history.can_read_more and answered - call_ids((*history.snapshot.items, *new)):
            history = await self.load_older(user_id, history, len(history.snapshot.items) + RECENT_ITEMS)
        return history

    async def load_older(self, user_id: str, history: LoadedHistory, count: int) -> LoadedHistory:
        """With `count` more of the older items."""
        if not history.snapshot.older_count:
            return history
        snapshot = await self._store.load_older(user_id, history.snapshot, count)
        return replace(history, snapshot=snapshot)

    async def reload(self, request: TurnRequest, next_position: int) -> LoadedHistory:
        """What an accepted turn continued from, without items that other turns of the same conversation have added
        since, at positions they had reserved. None of those is among the older items, unless a turn takes longer than
        all listed ones."""
        if request.thread_id is None:
            return LoadedHistory(None, ThreadSnapshot([], next_position, has_title=False))
        user_id, positions = request.user_id, request.history_positions
        snapshot = await self._store.open(user_id, request.thread_id, next_position - 1)
        snapshot = replace(snapshot, checkpoint=None, has_title=False)
        if positions is None:  # accepted by an earlier version
            items = await self._store.read(user_id, snapshot)
            return LoadedHistory(request.thread_id, replace(snapshot, items=items, older_count=0))
        found = await self._store.read(user_id, snapshot, since=positions[0]) if positions else []
        known = frozenset(positions)
        items = [item for item in found if position_in(item.id) in known]
        snapshot = replace(snapshot, items=items, older_count=request.older_count)
        return LoadedHistory(request.thread_id, await self._store.load_head(user_id, snapshot))

    async def _load_chain(self, user_id: str, previous: str, create: ResponseCreate) -> LoadedHistory:
        """The new items go to the end of the same chain, where their positions are taken when the turn is accepted; if
        another response is there by then, and after a response of a conversation, a new chain begins."""
        try:
            response = await self._responses.find(user_id, previous)
        except NotFound as exc:
            raise PreviousResponseNotFound from exc
        if not response.has_ended:
            raise InvalidRequest("the previous response is still in progress", param="previous_response_id")
        thread_id, last = response.thread_id, response.last_position
        if not create.stored:  # its connection remembers all of it
            snapshot = await self._store.read_until(user_id, thread_id, last)
            if snapshot.older_count and create.truncation != "auto":
                raise ContextLengthExceeded
            return LoadedHistory(None, snapshot)
        snapshot = await self._store.open(user_id, thread_id, last)
        check_item_limit(snapshot.older_count, len(create.items) + 1)
        snapshot = await self._store.load_recent(user_id, snapshot)
        if response.is_chained:
            return LoadedHistory(thread_id, snapshot)
        check_branch_limit(len(snapshot.path))
        return LoadedHistory(new_thread_id(), snapshot)


def _snapshot_of(items: Sequence[Item]) -> ThreadSnapshot:
    last = max((position_in(item.id) or 0 for item in items), default=0)
    return ThreadSnapshot(list(items), last + 1)
