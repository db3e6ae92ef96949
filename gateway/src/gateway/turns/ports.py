"""What turns need of the world."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from gateway.conversation import Count, Measured
from gateway.generation import EngineEvent, Form, Prompt, Sampling
from gateway.history.responses import Stored
from gateway.history.threads import Reserved
from gateway.protocol.items import Item
from gateway.protocol.resources import Response, Usage


class ModelServer(Protocol):
    async def model(self) -> str: ...
    async def limit(self) -> int | None: ...
    async def count(self, prompts: tuple[Prompt, ...], wanted: Form) -> Count | None: ...
    def stream(
        self, prompts: tuple[Prompt, ...], sampling: Sampling, wanted: Form, *, user_id: str, request_id: str
    ) -> AsyncGenerator[EngineEvent]: ...


class Threads(Protocol):
    async def reserve(self, user_id: str, thread_id: str, count: int) -> Reserved: ...
    async def read(self, user_id: str, thread_id: str, last: int) -> list[Item]: ...
    async def accept(
        self,
        user_id: str,
        thread_id: str,
        response: Response,
        asked: Sequence[Item],
        *,
        last: int,
        owner: str,
        before: Sequence[Item] = (),
    ) -> None: ...
    async def commit(
        self, user_id: str, thread_id: str, response: Response, answer: Sequence[Item], measured: Measured | None
    ) -> None: ...


class Responses(Protocol):
    async def get(self, user_id: str, response_id: str) -> Stored: ...


class Accounting(Protocol):
    async def add(self, user_id: str, usage: Usage) -> None: ...


class Titles(Protocol):
    def consider(self, user_id: str, conversation_id: str, question: str, answer: str) -> None: ...
