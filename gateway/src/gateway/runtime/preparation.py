"""May this turn start, and from what: the step between a client's request and a turn that runs."""

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile

import msgspec

from gateway.context.defaults import Defaults, output_options
from gateway.context.prompt import Exchange, PromptHistory, TokenCountCheckpoint, joined, prompts
from gateway.context.tool_calls import called, check_tool_outputs, drop_orphaned_outputs
from gateway.errors import InvalidRequest, ModelNotFound, NotFound, PreviousResponseNotFound
from gateway.inference import PromptMessage
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_thread_id, position_in
from gateway.protocol.items import FunctionCallOutput, Item, Message, introduces
from gateway.runtime.ports import HistoryReader, ModelServer, ResponseStore
from gateway.runtime.user_encryption import UserEncryption
from gateway.store.history.limits import check_item_limit
from gateway.store.history.threads import RECENT_ITEMS, ThreadSnapshot
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.state_machine import Turn, TurnRequest

_encode = msgspec.json.Encoder().encode

UnstoredHistory = Mapping[str, tuple[Item, ...]]
"""What was said up to a response that is stored nowhere, by its id."""


@dataclass(frozen=True, slots=True)
class ThreadContext:
    """What was said before. `thread` is where the new items go, None when nowhere; `copied`: a new chain, which
    begins with a copy of what it goes on from."""

    thread: str | None
    said: ThreadSnapshot
    copied: bool = False


@dataclass(slots=True)
class PreparedTurn:
    """A turn that may run, from as much of what was said before as was read until now."""

    turn: Turn
    context: ThreadContext
    asked: tuple[Item, ...]
    exchanges: Sequence[Exchange]
    head: tuple[PromptMessage, ...] = ()
    further: Callable[[ThreadSnapshot, int], Awaitable[tuple[ThreadSnapshot, PromptHistory]]] | None = None

    async def load_older(self, count: int) -> None:
        """So many of the older items. Raises Unavailable."""
        if self.further is not None:
            said, told = await self.further(self.context.said, count)
            self.context = replace(self.context, said=said)
            self.head, self.exchanges = told.head, told.turns

    @property
    def older(self) -> int:
        """Items that were not read."""
        return self.context.said.older if self.further is not None else 0

    @property
    def system(self) -> PromptMessage | None:
        system = self.turn.request.system
        return None if system is None else PromptMessage("system", system)

    @property
    def introduction(self) -> tuple[PromptMessage, ...]:
        """What is sent in any case."""
        return (self.system, *self.head) if self.system else self.head

    @property
    def affinity(self) -> str:
        """What it has in common with the answers whose beginning an engine may still hold."""
        return self.turn.request.thread or self.turn.request.user_id

    @property
    def before(self) -> tuple[Item, ...]:
        return (*self.context.said.head, *self.context.said.before)

    @property
    def items(self) -> tuple[Item, ...]:
        """All that the model is asked to go on from."""
        return (*self.before, *self.asked)

    @property
    def measured(self) -> TokenCountCheckpoint | None:
        return self.context.said.measured


class TurnPreparation:
    def __init__(
        self,
        engine: ModelServer,
        threads: HistoryReader,
        responses: ResponseStore,
        *,
        defaults: Defaults,
        seal: UserEncryption,
    ) -> None:
        self._engine = engine
        self._threads = threads
        self._responses = responses
        self._defaults = defaults
        self._seal = seal

    async def prepare(
        self, user_id: str, create: ResponseCreate, remembered: UnstoredHistory, *, response_id: str
    ) -> PreparedTurn:
        """Nothing of it is kept yet, but for positions in its conversation.

        Raises NotFound, PreviousResponseNotFound, ModelNotFound, InvalidRequest or Unavailable.
        """
        model = await self._engine.model()
        if create.model not in (None, "", model):
            raise ModelNotFound(create.model or "", model)
        context = await self._context(user_id, create, remembered)
        first = context.said.position
        asked = tuple(item.at(first + offset) for offset, item in enumerate(create.items))
        context = await self._with_calls(user_id, context, asked)
        said = context.said
        check_item_limit(len(said.before), len(asked) + 1)
        check_tool_outputs(said.before, asked)
        told = self._told(user_id, asked, said)
        system = self._system(create, said, asked)
        recent = said.before[-RECENT_ITEMS:]
        request = TurnRequest(
            response_id=response_id,
            user_id=user_id,
            model=model,
            sampling=self._defaults.of(create, context.said.generation),
            form=output_options(create),
            created_at=int(time.time()),
            position=first + len(asked),
            thread=context.thread,
            conversation_id=create.conversation_id,
            previous_response_id=create.previous_response_id,
            instructions=create.instructions,
            metadata=create.metadata or {},
            max_output_tokens=create.max_output_tokens,
            truncation=create.truncation or "disabled",
            background=create.background is True,
            generate=create.generate is not False,
            reasoning=create.reasoning,
            safety_identifier=create.safety_identifier,
            prompt_cache_key=create.prompt_cache_key,
            system=system,
            shape=_shape(model, system, create),
            before=tuple(position_in(item.id) or 0 for item in recent),
            older=said.older + len(said.head) + len(said.before) - len(recent),
        )
        return self._accepted(request, context, asked, told)

    async def again(self, request: TurnRequest, asked: tuple[Item, ...]) -> PreparedTurn:
        """The same turn from what is kept of it; whether its conversation has a title is found out when it gets one.

        Raises Unavailable.
        """
        said = await self._said_then(request, request.position - len(asked))
        told = self._told(request.user_id, asked, said)
        return self._accepted(request, ThreadContext(request.thread, said), asked, told)

    async def _said_then(self, request: TurnRequest, first: int) -> ThreadSnapshot:
        """Without what other turns of the same conversation have said since, at positions they had reserved: none is
        among the older items, unless it takes longer than all those that are listed."""
        user_id, thread, then = request.user_id, request.thread or "", request.before
        if then is None:
            return ThreadSnapshot(await self._threads.read(user_id, thread, first - 1), first, titled=False)
        found = await self._threads.read(user_id, thread, first - 1, since=then[0]) if then else []
        known = frozenset(then)
        before = [item for item in found if position_in(item.id) in known]
        said = ThreadSnapshot(before, first, titled=False, older=request.older)
        return await self._threads.load_head(user_id, thread, said)

    async def _context(self, user_id: str, create: ResponseCreate, remembered: UnstoredHistory) -> ThreadContext:
        count = len(create.items) + MAX_OUTPUT_ITEMS
        if create.conversation_id is not None:
            said = await self._threads.reserve(user_id, create.conversation_id, count)
            return ThreadContext(create.conversation_id, said)
        previous = create.previous_response_id
        if previous is None:
            return ThreadContext(new_thread_id() if create.stored else None, ThreadSnapshot([], 1))
        if previous in remembered:
            if create.stored:
                raise InvalidRequest("the previous response was not stored; send `store: false`", param="store")
            return ThreadContext(None, _remembered(remembered[previous]))
        return await self._chain(user_id, previous, count, stored=create.stored)

    async def _chain(self, user_id: str, previous: str, count: int, *, stored: bool) -> ThreadContext:
        """Goes on at the end of a chain; from anywhere else, and from a conversation, a new chain begins."""
        try:
            stored_before = await self._responses.get(user_id, previous)
        except NotFound as exc:
            raise PreviousResponseNotFound from exc
        if not stored_before.ended:
            raise InvalidRequest("the previous response still runs; wait for its end", param="previous_response_id")
        thread, last = stored_before.thread, stored_before.last
        if stored and stored_before.in_a_chain:
            said = await self._threads.reserve(user_id, thread, count)
            if said.position == last + 1:
                return ThreadContext(thread, said)
        items = await self._threads.read(user_id, thread, last)
        return ThreadContext(new_thread_id() if stored else None, ThreadSnapshot(items, last + 1), copied=True)

    async def _with_calls(self, user_id: str, context: ThreadContext, asked: Sequence[Item]) -> ThreadContext:
        """Read back to the calls that are answered now."""
        answered = {item.call_id for item in asked if isinstance(item, FunctionCallOutput)}
        said = context.said
        while said.older and answered - called((*said.before, *asked)):
            said = await self._threads.load_older(user_id, context.thread or "", said, len(said.before) + RECENT_ITEMS)
        return replace(context, said=said)

    def _accepted(
        self, request: TurnRequest, context: ThreadContext, asked: tuple[Item, ...], told: PromptHistory
    ) -> PreparedTurn:
        further = partial(self._further, request.user_id, context.thread or "", asked)
        return PreparedTurn(Turn(request), context, asked, told.turns, told.head, further)

    async def _further(
        self, user_id: str, thread: str, asked: Sequence[Item], said: ThreadSnapshot, count: int
    ) -> tuple[ThreadSnapshot, PromptHistory]:
        said = await self._threads.load_older(user_id, thread, said, count)
        return said, self._told(user_id, asked, said)

    def _told(self, user_id: str, asked: Sequence[Item], said: ThreadSnapshot) -> PromptHistory:
        def told(items: Sequence[Item]) -> list[PromptMessage]:
            return prompts(items, lambda item: self._seal.decrypt(user_id, item.encrypted_content))

        return joined([*told(said.head), *told(drop_orphaned_outputs(said.before))], told(asked))

    def _system(self, create: ResponseCreate, said: ThreadSnapshot, asked: Sequence[Item]) -> str | None:
        """The deployment's own only where nobody has begun the conversation with another."""
        own = create.instructions or said.generation.instructions
        leading = takewhile(introduces, (*said.head, *said.before, *asked))
        given = any(isinstance(item, Message) for item in leading)
        return own if own or given else self._defaults.system_prompt or None


def _remembered(items: Sequence[Item]) -> ThreadSnapshot:
    last = max((position_in(item.id) or 0 for item in items), default=0)
    return ThreadSnapshot(list(items), last + 1)


def _shape(model: str, system: str | None, create: ResponseCreate) -> str:
    return hashlib.sha256(_encode((model, system, create.tools, create.tool_choice))).hexdigest()[:16]
