"""A long conversation made short: one sealed item that a new chain can begin with."""

import secrets
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from gateway.context.prompt import fit, joined, prompts
from gateway.errors import (
    ContextLengthExceeded,
    EngineFailed,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    PreviousResponseNotFound,
)
from gateway.inference import Finished, OutputOptions, PromptMessage, Sampling, TextDelta, UsageReport
from gateway.protocol.ids import is_response_id, new_item_id
from gateway.protocol.input_items import InputCompaction, InputItem, InputMessage
from gateway.protocol.items import Compaction as CompactionItem
from gateway.protocol.items import Item, Message
from gateway.protocol.requests import CompactRequest
from gateway.protocol.resources import CompactedResponse, Usage
from gateway.runtime.ports import HistoryReader, ModelServer, ResponseStore, UsageStore
from gateway.runtime.user_encryption import UserEncryption

_WANTED = (
    "Summarise this conversation so that it can go on without its text: what was asked and answered, names, numbers, "
    "decisions, what is still open. Write in the language of the conversation, and nothing but the summary."
)
SUMMARY_TOKENS = 1_024
_SAMPLING = Sampling(temperature=0.2, top_p=0.9, repetition_penalty=1.05, max_output_tokens=SUMMARY_TOKENS)
_PLAIN = OutputOptions()
SUMMARY = "Summary of the conversation so far:\n"


class Compaction:
    def __init__(
        self,
        engine: ModelServer,
        threads: HistoryReader,
        responses: ResponseStore,
        accounting: UsageStore,
        seal: UserEncryption,
    ) -> None:
        self._engine = engine
        self._threads = threads
        self._responses = responses
        self._accounting = accounting
        self._seal = seal

    async def compact(self, user_id: str, request: CompactRequest) -> CompactedResponse:
        """The user's messages, and one item that stands for all the rest.

        Raises InvalidRequest, PreviousResponseNotFound, ModelNotFound, Unavailable or EngineFailed.
        """
        served = await self._engine.model()
        if request.model != served:
            raise ModelNotFound(request.model, served)
        items = await self._items(user_id, request)
        summary, usage = await self._summary(user_id, items, request.instructions)
        await self._accounting.add(user_id, usage)
        kept = [item for item in items if isinstance(item, Message) and item.role == "user"]
        sealed = CompactionItem(new_item_id("cmp", len(items) + 1), self._seal.encrypt(user_id, SUMMARY + summary))
        return CompactedResponse("resp_" + secrets.token_hex(16), int(time.time()), (*kept, sealed), usage)

    def refuse_unreadable(self, user_id: str, items: Sequence[InputItem]) -> None:
        """Before they are kept, where every later turn would fail for them. Raises InvalidRequest."""
        for index, item in enumerate(items):
            if isinstance(item, InputCompaction):
                self._seal.decrypt(user_id, item.encrypted_content, param=f"items[{index}].encrypted_content")

    async def _items(self, user_id: str, request: CompactRequest) -> list[Item]:
        before = await self._before(user_id, request.previous_response_id)
        asked: Sequence[InputItem] = ()
        if isinstance(request.input, str):
            asked = (InputMessage(role="user", content=request.input),)
        elif request.input is not None:
            asked = request.input
        items = [*before, *(item.at(len(before) + offset) for offset, item in enumerate(asked, 1))]
        if not items:
            raise InvalidRequest("`input` is empty; expected something to compact", param="input")
        return items

    async def _before(self, user_id: str, previous: str | None) -> list[Item]:
        if previous is None:
            return []
        if not is_response_id(previous):
            raise PreviousResponseNotFound
        try:
            stored = await self._responses.get(user_id, previous)
        except NotFound as exc:
            raise PreviousResponseNotFound from exc
        return await self._threads.read(user_id, stored.thread, stored.last)

    async def _summary(self, user_id: str, items: Sequence[Item], instructions: str | None) -> tuple[str, Usage]:
        told = prompts(items, lambda item: self._seal.decrypt(user_id, item.encrypted_content))
        wanted = PromptMessage("user", f"{_WANTED}\n\n{instructions}" if instructions else _WANTED)
        conversation = joined(told, [wanted])
        window = await fit(
            conversation.head,
            conversation.turns,
            count=lambda chosen: self._engine.count(chosen, _PLAIN, affinity=user_id),
            room_wanted=SUMMARY_TOKENS,
        )
        if told and not conversation.head and window.exchanges_left_out == len(conversation.turns) - 1:
            raise ContextLengthExceeded(window.count, window.limit)  # nothing would be left to summarise
        most = _SAMPLING.max_output_tokens if window.room is None else min(SUMMARY_TOKENS, window.room)
        sampling = replace(_SAMPLING, max_output_tokens=most)
        text, usage, reason = "", Usage(0, 0, 0), "length"
        stream = self._engine.stream(
            window.prompts,
            sampling,
            _PLAIN,
            user_id=user_id,
            request_id=f"compact-{secrets.token_hex(8)}",
            affinity=user_id,
        )
        async with aclosing(stream):
            async for event in stream:
                match event:
                    case TextDelta():
                        text += event.text
                    case UsageReport():
                        usage = event.usage
                    case Finished():
                        reason = event.reason
        if not text.strip():
            raise EngineFailed(f"the model had no summary to give; it ended with {reason!r}")
        return text.strip(), usage
