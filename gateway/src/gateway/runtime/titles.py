"""Titles for new conversations, generated beside the answers and never in their way."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Set
from contextlib import aclosing
from typing import Literal, Protocol

from gateway.context.title import clean_title, first_words, title_prompt
from gateway.errors import NotFound, ParleyError
from gateway.inference import EngineCall, EngineEvent, Finished, OutputOptions, Sampling, TextDelta

logger = logging.getLogger(__name__)

_SAMPLING = Sampling(temperature=0.2, top_p=0.9, repetition_penalty=1.0, max_output_tokens=24)
_PLAIN_TEXT = OutputOptions()
# Titles are the least urgent of all that the engine does.
_MAX_CONCURRENT = 4


class StreamingEngine(Protocol):
    def stream(self, call: EngineCall) -> AsyncGenerator[EngineEvent]: ...


class Conversations(Protocol):
    async def retitle(self, user_id: str, conversation_id: str, title: str, *, instead_of: str) -> bool: ...


class Titles:
    """`source`: the model, only the first words of the question, or no titles at all."""

    def __init__(
        self,
        engine: StreamingEngine,
        conversations: Conversations,
        source: Literal["model", "words", "off"],
        *,
        timeout_seconds: float = 20.0,
    ) -> None:
        self._engine = engine
        self._conversations = conversations
        self._source = source
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._generating: set[asyncio.Task[None] | None] = set()

    def schedule(self, user_id: str, conversation_id: str, question: str, answer: str) -> None:
        """Call it once the first exchange of a conversation without a title is in its history."""
        if self._source == "off":
            return
        task = asyncio.create_task(self._set_title(user_id, conversation_id, question, answer))
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    @property
    def pending(self) -> Set[asyncio.Task[None]]:
        return self._tasks

    async def close(self) -> None:
        """Cancels the calls to the model: those titles stay the first words."""
        self._source = "words"
        for task in self._tasks & self._generating:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _set_title(self, user_id: str, conversation_id: str, question: str, answer: str) -> None:
        """The first words at once, then the model's title, unless the user has set another one."""
        words = first_words(question)
        retitle = self._conversations.retitle
        try:
            if words and not await retitle(user_id, conversation_id, words, instead_of=""):
                return
            if self._source == "model":
                self._generating.add(asyncio.current_task())
                title = await self._generate(user_id, conversation_id, question, answer)
                if title is not None:
                    await retitle(user_id, conversation_id, title, instead_of=words)
        except NotFound:
            return  # deleted by now
        except (ParleyError, TimeoutError) as exc:
            logger.info("no title from the model", extra={"reason": type(exc).__name__})

    async def _generate(self, user_id: str, conversation_id: str, question: str, answer: str) -> str | None:
        """None for an answer that is no title. Raises TimeoutError, or what the engine raises."""
        parts: list[str] = []
        call = EngineCall(
            prompt=title_prompt(question, answer),
            sampling=_SAMPLING,
            options=_PLAIN_TEXT,
            user_id=user_id,
            request_id=f"title_{conversation_id}",
            affinity=conversation_id,
        )
        async with (
            asyncio.timeout(self._timeout_seconds),
            self._slots,
            aclosing(self._engine.stream(call)) as events,
        ):
            async for event in events:
                match event:
                    case TextDelta(text=text):
                        parts.append(text)
                    case Finished(reason="length"):
                        return None
        return clean_title("".join(parts))

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._generating.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("a title ended in a bug", exc_info=exc)
