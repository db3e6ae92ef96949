"""May this turn start, and from what: the step between a client's request and a turn that runs."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from gateway.conversation import Exchange, Measured, joined, prompts
from gateway.errors import InvalidRequest, ModelNotFound, NotFound, PreviousResponseNotFound
from gateway.generation import Prompt
from gateway.history.threads import Reserved
from gateway.output import ITEMS_AT_MOST
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_thread_id, position_in
from gateway.protocol.items import FunctionCall, FunctionCallOutput, Item, Message
from gateway.seal import Seal
from gateway.turn import Turn, TurnRequest
from gateway.turns.defaults import Defaults, form_of
from gateway.turns.ports import ModelServer, Responses, Threads

_encode = msgspec.json.Encoder().encode

Remembered = Mapping[str, tuple[Item, ...]]
"""What was said up to a response that is stored nowhere, by its id."""


@dataclass(frozen=True, slots=True)
class Context:
    """What was said before. `thread` is where the new items go, None when nowhere; `copied`: a new chain, which
    begins with a copy of what it goes on from."""

    thread: str | None
    said: Reserved
    copied: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """A turn that may run."""

    turn: Turn
    context: Context
    asked: tuple[Item, ...]
    exchanges: Sequence[Exchange]

    @property
    def system(self) -> Prompt | None:
        system = self.turn.request.system
        return None if system is None else Prompt("system", system)

    @property
    def affinity(self) -> str:
        """What it has in common with the answers whose beginning an engine may still hold."""
        return self.turn.request.thread or self.turn.request.user_id

    @property
    def items(self) -> tuple[Item, ...]:
        """All that the model is asked to go on from."""
        return (*self.context.said.before, *self.asked)

    @property
    def measured(self) -> Measured | None:
        return self.context.said.measured


class Acceptance:
    def __init__(
        self,
        engine: ModelServer,
        threads: Threads,
        responses: Responses,
        *,
        defaults: Defaults,
        seal: Seal,
    ) -> None:
        self._engine = engine
        self._threads = threads
        self._responses = responses
        self._defaults = defaults
        self._seal = seal

    async def prepare(
        self, user_id: str, create: ResponseCreate, remembered: Remembered, *, response_id: str
    ) -> Accepted:
        """Nothing of it is kept yet, but for positions in its conversation.

        Raises NotFound, PreviousResponseNotFound, ModelNotFound, InvalidRequest or Unavailable.
        """
        model = await self._engine.model()
        if create.model not in (None, "", model):
            raise ModelNotFound(create.model or "", model)
        context = await self._context(user_id, create, remembered)
        first = context.said.position
        asked = tuple(item.at(first + offset) for offset, item in enumerate(create.items))
        _refuse_answers_to_no_call(context.said.before, asked)
        before = self._prompts(user_id, _without_orphans(context.said.before))
        now = self._prompts(user_id, asked)
        system = self._system(create, context, asked)
        request = TurnRequest(
            response_id=response_id,
            user_id=user_id,
            model=model,
            sampling=self._defaults.of(create, context.said.generation),
            form=form_of(create),
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
            before=tuple(position_in(item.id) or 0 for item in context.said.before),
            older=context.said.older,
        )
        return Accepted(Turn(request), context, asked, joined(before, now))

    async def again(self, request: TurnRequest, asked: tuple[Item, ...]) -> Accepted:
        """The same turn from what is kept of it; whether its conversation has a title is found out when it gets one.

        Raises Unavailable.
        """
        user_id, first = request.user_id, request.position - len(asked)
        before = await self._before(request, first - 1)
        told = joined(self._prompts(user_id, _without_orphans(before)), self._prompts(user_id, asked))
        said = Reserved(before, first, titled=False, older=request.older)
        return Accepted(Turn(request), Context(request.thread, said), asked, told)

    async def _before(self, request: TurnRequest, last: int) -> list[Item]:
        """Without what other turns of the same conversation have said since, at positions they had reserved."""
        user_id, thread, then = request.user_id, request.thread or "", request.before
        if then is None:
            return await self._threads.read(user_id, thread, last)
        found = await self._threads.read(user_id, thread, last, since=then[0]) if then else []
        known = frozenset(then)
        return [item for item in found if position_in(item.id) in known]

    async def _context(self, user_id: str, create: ResponseCreate, remembered: Remembered) -> Context:
        count = len(create.items) + ITEMS_AT_MOST
        if create.conversation_id is not None:
            said = await self._threads.reserve(user_id, create.conversation_id, count)
            return Context(create.conversation_id, said)
        previous = create.previous_response_id
        if previous is None:
            return Context(new_thread_id() if create.stored else None, Reserved([], 1))
        if previous in remembered:
            if create.stored:
                raise InvalidRequest("the previous response was not stored; send `store: false`", param="store")
            return Context(None, Reserved(list(remembered[previous]), 1))
        return await self._chain(user_id, previous, count, stored=create.stored)

    async def _chain(self, user_id: str, previous: str, count: int, *, stored: bool) -> Context:
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
                return Context(thread, said)
        items = await self._threads.read(user_id, thread, last)
        return Context(new_thread_id() if stored else None, Reserved(items, last + 1), copied=True)

    def _prompts(self, user_id: str, items: Sequence[Item]) -> list[Prompt]:
        return prompts(items, lambda item: self._seal.opened(user_id, item.encrypted_content))

    def _system(self, create: ResponseCreate, context: Context, asked: Sequence[Item]) -> str | None:
        """The deployment's own only where nobody has given another."""
        own = create.instructions or context.said.generation.instructions
        given = any(
            isinstance(item, Message) and item.role in ("system", "developer")
            for item in (*context.said.before, *asked)
        )
        return own if own or given else self._defaults.system_prompt or None


def _refuse_answers_to_no_call(before: Sequence[Item], asked: Sequence[Item]) -> None:
    """A chat template would render them, and the model would answer something that was never asked."""
    called = _called((*before, *asked))
    for item in asked:
        if isinstance(item, FunctionCallOutput) and item.call_id not in called:
            raise InvalidRequest(
                f"no function call has the `call_id` {item.call_id!r} that an output answers", param="input"
            )


def _without_orphans(before: Sequence[Item]) -> list[Item]:
    """The call of a result may have been deleted since: that must not end the whole conversation."""
    called = _called(before)
    return [item for item in before if not isinstance(item, FunctionCallOutput) or item.call_id in called]


def _called(items: Sequence[Item]) -> set[str]:
    return {item.call_id for item in items if isinstance(item, FunctionCall)}


def _shape(model: str, system: str | None, create: ResponseCreate) -> str:
    return hashlib.sha256(_encode((model, system, create.tools, create.tool_choice))).hexdigest()[:16]
