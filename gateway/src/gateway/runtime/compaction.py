"""Shortens a long conversation: one encrypted summary item that a new chain can begin with."""

import secrets
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from gateway.context.prompt import ContextWindow, assemble, fit_window
from gateway.context.tool_calls import drop_orphaned_outputs
from gateway.errors import (
    ContextLengthExceeded,
    EngineFailed,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    PreviousResponseNotFound,
)
from gateway.inference import EngineCall, Finished, OutputOptions, PromptMessage, Sampling, TextDelta, UsageReport
from gateway.pauses import Pacer, pause
from gateway.protocol.ids import is_response_id, new_item_id, new_response_id
from gateway.protocol.input_items import InputCompaction, InputItem, InputMessage
from gateway.protocol.items import Compaction as CompactionItem
from gateway.protocol.items import Item, Message
from gateway.protocol.requests import CompactRequest
from gateway.protocol.resources import CompactedResponse, Usage
from gateway.runtime.ports import HistoryReader, ModelServer, ResponseStore, UsageRecorder
from gateway.runtime.prompt_builder import PromptBuilder
from gateway.runtime.user_encryption import UserEncryption

_INSTRUCTIONS = (
    "Summarise this conversation so that it can go on without its text: what was asked and answered, names, numbers, "
    "decisions, what is still open. Write in the language of the conversation, and nothing but the summary."
)
SUMMARY_TOKENS = 1_024
_SAMPLING = Sampling(temperature=0.2, top_p=0.9, repetition_penalty=1.05, max_output_tokens=SUMMARY_TOKENS)
_PLAIN_TEXT = OutputOptions()
SUMMARY = "Summary of the conversation so far:\n"


class Compaction:
    def __init__(
        self,
        engine: ModelServer,
        history: HistoryReader,
        responses: ResponseStore,
        usage: UsageRecorder,
        prompts: PromptBuilder,
        encryption: UserEncryption,
    ) -> None:
        self._engine = engine
        self._history = history
        self._responses = responses
        self._usage = usage
        self._prompts = prompts
        self._encryption = encryption

    async def compact(self, user_id: str, request: CompactRequest) -> CompactedResponse:
        """The user's messages, and one item that stands for everything else.

        Raises InvalidRequest, PreviousResponseNotFound, ModelNotFound, Unavailable or EngineFailed.
        """
        await pause()  # the request has just been decoded in one step
        served = await self._engine.model()
        if request.model != served:
            raise ModelNotFound(request.model, served)
        items = await self._items(user_id, request)
        summary, usage = await self._summarise(user_id, items, request.instructions)
        await self._usage.add(user_id, usage)
        await pause()
        questions = [item for item in items if isinstance(item, Message) and item.role == "user"]
        ciphertext = self._encryption.encrypt(user_id, SUMMARY + summary)
        compaction = CompactionItem(new_item_id("cmp", len(items) + 1), ciphertext)
        return CompactedResponse(new_response_id(), int(time.time()), (*questions, compaction), usage)

    def check_readable(self, user_id: str, items: Sequence[InputItem]) -> None:
        """Before they are stored, where every later turn would fail for them. Raises InvalidRequest."""
        for index, item in enumerate(items):
            if isinstance(item, InputCompaction):
                self._encryption.decrypt(user_id, item.encrypted_content, param=f"items[{index}].encrypted_content")

    async def _items(self, user_id: str, request: CompactRequest) -> list[Item]:
        history = await self._load(user_id, request.previous_response_id)
        new: Sequence[InputItem] = ()
        if isinstance(request.input, str):
            new = (InputMessage(role="user", content=request.input),)
        elif request.input is not None:
            new = request.input
        items, pacer = list(history), Pacer()
        for item in new:
            items.append(item.at(len(items) + 1))
            await pacer.pause_if_due()
        if not items:
            raise InvalidRequest("`input` is empty; expected something to compact", param="input")
        return items

    async def _load(self, user_id: str, previous: str | None) -> list[Item]:
        if previous is None:
            return []
        if not is_response_id(previous):
            raise PreviousResponseNotFound
        try:
            stored = await self._responses.find(user_id, previous)
        except NotFound as exc:
            raise PreviousResponseNotFound from exc
        snapshot = await self._history.read_until(user_id, stored.thread_id, stored.last_position)
        if snapshot.older_count:
            raise ContextLengthExceeded
        return drop_orphaned_outputs(snapshot.items)

    async def _summarise(self, user_id: str, items: Sequence[Item], instructions: str | None) -> tuple[str, Usage]:
        window = await self._fit(user_id, items, instructions)
        most = _SAMPLING.max_output_tokens if window.room is None else min(SUMMARY_TOKENS, window.room)
        call = EngineCall(
            prompt=window.messages,
            sampling=replace(_SAMPLING, max_output_tokens=most),
            options=_PLAIN_TEXT,
            user_id=user_id,
            request_id=f"compact-{secrets.token_hex(8)}",
            affinity=user_id,
        )
        text, usage, reason = "", Usage(0, 0, 0), "length"
        async with aclosing(self._engine.stream(call)) as stream:
            async for event in stream:
                match event:
                    case TextDelta():
                        text += event.text
                    case UsageReport():
                        usage = event.usage
                    case Finished():
                        reason = event.reason
        if not text.strip():
            raise EngineFailed(f"the model returned no summary; it finished with {reason!r}")
        return text.strip(), usage

    async def _fit(self, user_id: str, items: Sequence[Item], instructions: str | None) -> ContextWindow:
        history = await self._prompts.messages(user_id, items)
        question = PromptMessage("user", f"{_INSTRUCTIONS}\n\n{instructions}" if instructions else _INSTRUCTIONS)
        prompt = assemble(history, [question])
        window = await fit_window(
            prompt.head,
            prompt.exchanges,
            count=lambda messages: self._engine.tokenize(messages, _PLAIN_TEXT, affinity=user_id),
            wanted_room=SUMMARY_TOKENS,
        )
        if history and not prompt.head and window.exchanges_left_out == len(prompt.exchanges) - 1:
            raise ContextLengthExceeded(window.count, window.limit)  # nothing would be left to summarise
        return window
