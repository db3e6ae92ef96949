"""From a client's request to a turn that can start: load its history, build its prompt, fix its parameters."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from gateway.context.defaults import Defaults, output_options
from gateway.context.prompt import PromptHistory
from gateway.context.tool_calls import check_tool_outputs
from gateway.errors import ModelNotFound
from gateway.inference import PromptMessage
from gateway.pauses import Pacer
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_thread_id, position_in
from gateway.protocol.input_items import InputItem
from gateway.protocol.items import Item
from gateway.runtime.history_loader import HistoryLoader, LoadedHistory, UnstoredHistory
from gateway.runtime.ports import ModelServer
from gateway.runtime.prompt_builder import PromptBuilder, prompt_digest
from gateway.turn.limits import RECENT_ITEMS, check_branch_limit, check_item_limit
from gateway.turn.state_machine import Turn
from gateway.turn.turn_request import TurnRequest


@dataclass(frozen=True, slots=True)
class PreparedTurn:
    """A turn that can start, with as much of its history as was read so far."""

    turn: Turn
    history: LoadedHistory
    input: tuple[Item, ...]
    prompt: PromptHistory

    @property
    def head(self) -> tuple[PromptMessage, ...]:
        """Sent in any case: the system prompt and the instructions that begin the conversation."""
        system_prompt = self.turn.request.system_prompt
        if system_prompt is None:
            return self.prompt.head
        return (PromptMessage("system", system_prompt), *self.prompt.head)

    @property
    def messages(self) -> list[PromptMessage]:
        """The whole prompt, as far as the history was read."""
        return [*self.head, *(message for exchange in self.prompt.exchanges for message in exchange)]

    @property
    def older_count(self) -> int:
        """Items of the history that were not read."""
        return self.history.snapshot.older_count

    @property
    def items(self) -> tuple[Item, ...]:
        """History and input."""
        return (*self.history.items, *self.input)

    @property
    def affinity(self) -> str:
        """Turns with the same value share the beginning of their prompts, which one engine may hold in its cache."""
        return self.turn.request.thread_id or self.turn.request.user_id

    def in_new_chain(self) -> "PreparedTurn":
        """The same turn, not started yet, at the beginning of a chain that branches off. Raises StorageLimit."""
        check_branch_limit(len(self.history.snapshot.path))
        thread_id = new_thread_id()
        request = msgspec.structs.replace(self.turn.request, thread_id=thread_id)
        return replace(self, turn=Turn(request), history=replace(self.history, thread_id=thread_id))


async def _placed(items: Sequence[InputItem], first: int) -> tuple[Item, ...]:
    """With ids, at the positions from `first` on."""
    placed: list[Item] = []
    pacer = Pacer()
    for position, item in enumerate(items, start=first):
        placed.append(item.at(position))
        await pacer.pause_if_due()
    return tuple(placed)


class TurnPreparation:
    """Every method raises Unavailable when the store or the engine is not reachable."""

    def __init__(
        self, engine: ModelServer, history: HistoryLoader, prompts: PromptBuilder, *, defaults: Defaults
    ) -> None:
        self._engine = engine
        self._history = history
        self._prompts = prompts
        self._defaults = defaults

    async def prepare(
        self, user_id: str, create: ResponseCreate, unstored: UnstoredHistory, *, response_id: str
    ) -> PreparedTurn:
        """Stores nothing yet but the reservation of positions in its conversation.

        Raises NotFound, PreviousResponseNotFound, ModelNotFound or InvalidRequest.
        """
        model = await self._engine.model()
        if create.model not in (None, "", model):
            raise ModelNotFound(create.model or "", model)
        history = await self._history.load(user_id, create, unstored)
        first = history.snapshot.next_position
        new = await _placed(create.items, first)
        history = await self._history.load_calls(user_id, history, new)
        check_item_limit(len(history.snapshot.items), len(new) + 1)
        check_tool_outputs(history.snapshot.items, new)
        prompt = await self._prompts.build(user_id, history.snapshot, new)
        request = self._request(user_id, create, history, new, model=model, response_id=response_id)
        return PreparedTurn(Turn(request), history, new, prompt)

    async def restore(self, request: TurnRequest, new: tuple[Item, ...]) -> PreparedTurn:
        """An accepted turn, from what is stored of it. Whether its conversation has a title is not read."""
        history = await self._history.reload(request, request.first_position - len(new))
        prompt = await self._prompts.build(request.user_id, history.snapshot, new)
        return PreparedTurn(Turn(request), history, new, prompt)

    async def load_older(self, prepared: PreparedTurn, count: int) -> PreparedTurn:
        """With `count` more of the older items in its history and prompt."""
        user_id = prepared.turn.request.user_id
        history = await self._history.load_older(user_id, prepared.history, count)
        prompt = await self._prompts.build(user_id, history.snapshot, prepared.input)
        return replace(prepared, history=history, prompt=prompt)

    def _request(
        self,
        user_id: str,
        create: ResponseCreate,
        history: LoadedHistory,
        new: tuple[Item, ...],
        *,
        model: str,
        response_id: str,
    ) -> TurnRequest:
        snapshot = history.snapshot
        recent = snapshot.items[-RECENT_ITEMS:]
        system_prompt = self._prompts.system_prompt(create, snapshot, new)
        return TurnRequest(
            response_id=response_id,
            user_id=user_id,
            model=model,
            sampling=self._defaults.resolve(create, snapshot.generation),
            options=output_options(create),
            # Shown to clients only, as is the time of completion: after a takeover the two are from two gateways, and
            # nothing compares them.
            created_at=int(time.time()),
            first_position=snapshot.next_position + len(new),
            thread_id=history.thread_id,
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
            system_prompt=system_prompt,
            prompt_digest=prompt_digest(model, system_prompt, create),
            history_positions=tuple(position_in(item.id) or 0 for item in recent),
            older_count=snapshot.older_count + len(snapshot.head) + len(snapshot.items) - len(recent),
        )
