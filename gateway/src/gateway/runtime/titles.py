"""Titles for new conversations, made beside the answers and never in their way."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Set
from contextlib import aclosing
from typing import Literal, Protocol

from gateway.context.title import cleaned, first_words, prompts
from gateway.errors import NotFound, ParleyError
from gateway.inference import EngineEvent, Finished, OutputOptions, PromptMessage, Sampling, TextDelta

logger = logging.getLogger(__name__)

_SAMPLING = Sampling(temperature=0.2, top_p=0.9, repetition_penalty=1.0, max_output_tokens=24)
_FORM = OutputOptions()
# Titles are the least urgent of all that the engine does.
_AT_ONCE = 4


class StreamingEngine(Protocol):
    def stream(
        self,
        prompts: tuple[PromptMessage, ...],
        sampling: Sampling,
        wanted: OutputOptions,
        *,
        user_id: str,
        request_id: str,
        affinity: str,
    ) -> AsyncGenerator[EngineEvent]: ...


class Conversations(Protocol):
    async def retitle(self, user_id: str, conversation_id: str, title: str, *, instead_of: str) -> bool: ...


class Titles:
    """`how`: by the model, only from the first words, or not at all."""

    def __init__(
        self,
        engine: StreamingEngine,
        conversations: Conversations,
        how: Literal["model", "words", "off"],
        *,
        patience_seconds: float = 20.0,
    ) -> None:
        self._engine = engine
        self._conversations = conversations
        self._how = how
        self._patience_seconds = patience_seconds
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[None] | None] = set()

    def schedule(self, user_id: str, conversation_id: str, question: str, answer: str) -> None:
        """To be called when the first exchange of a conversation without a title is in its history."""
        if self._how == "off":
            return
        task = asyncio.create_task(self._title(user_id, conversation_id, question, answer))
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    @property
    def pending(self) -> Set[asyncio.Task[None]]:
        return self._tasks

    async def close(self) -> None:
        """Asks no further: a title that the model was still to make stays the first words."""
        self._how = "words"
        for task in self._tasks & self._asking:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _title(self, user_id: str, conversation_id: str, question: str, answer: str) -> None:
        """The first words at once, then the model's title unless somebody has given another."""
        words = first_words(question)
        retitle = self._conversations.retitle
        try:
            if words and not await retitle(user_id, conversation_id, words, instead_of=""):
                return
            if self._how == "model":
                self._asking.add(asyncio.current_task())
                title = await self._asked(user_id, conversation_id, question, answer)
                if title is not None:
                    await retitle(user_id, conversation_id, title, instead_of=words)
        except NotFound:
            return  # deleted by now
        except (ParleyError, TimeoutError) as exc:
            logger.info("no title by the model", extra={"reason": type(exc).__name__})

    async def _asked(self, user_id: str, conversation_id: str, question: str, answer: str) -> str | None:
        """None for an answer that is no title. Raises TimeoutError, or what the engine raises."""
        pieces: list[str] = []
        async with asyncio.timeout(self._patience_seconds), self._places:
            events = self._engine.stream(
                prompts(question, answer),
                _SAMPLING,
                _FORM,
                user_id=user_id,
                request_id=f"title_{conversation_id}",
                affinity=conversation_id,
            )
            async with aclosing(events):
                async for event in events:
                    match event:
                        case TextDelta(text=text):
                            pieces.append(text)
                        case Finished(reason="length"):
                            return None
        return cleaned("".join(pieces))

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._asking.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("a title ended in a bug", exc_info=exc)
