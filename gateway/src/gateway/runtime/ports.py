"""What turns need of the world."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from gateway.context.prompt import TokenCount, TokenCountCheckpoint
from gateway.inference import EngineEvent, OutputOptions, PromptMessage, Sampling
from gateway.protocol.items import Item
from gateway.protocol.resources import Response, Usage
from gateway.store.history.responses import StoredResponse
from gateway.store.history.threads import CommitResult, ThreadSnapshot, TurnRecord


class ModelServer(Protocol):
    @property
    def has_healthy(self) -> bool: ...
    async def model(self) -> str: ...
    async def limit(self) -> int | None: ...
    async def count(
        self, prompts: tuple[PromptMessage, ...], wanted: OutputOptions, *, affinity: str
    ) -> TokenCount | None: ...
    async def prompt_ids(
        self, prompts: tuple[PromptMessage, ...], wanted: OutputOptions, *, affinity: str
    ) -> tuple[int, ...]: ...
    async def detokenize(self, token_ids: Sequence[int], *, affinity: str) -> str: ...
    async def probe(self) -> None: ...
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
    def resume(
        self, token_ids: Sequence[int], sampling: Sampling, *, user_id: str, request_id: str, affinity: str
    ) -> AsyncGenerator[EngineEvent]: ...


class TurnStore(Protocol):
    async def check_quota(self, user_id: str) -> None: ...
    async def find_accepted(self, user_id: str, client_id: str) -> str | None: ...
    async def accept(self, record: TurnRecord) -> str: ...
    async def commit(
        self,
        user_id: str,
        thread_id: str,
        response: Response,
        answer: Sequence[Item],
        measured: TokenCountCheckpoint | None,
        *,
        owner: str,
    ) -> CommitResult: ...


class HistoryReader(Protocol):
    async def reserve(self, user_id: str, thread_id: str, count: int) -> ThreadSnapshot: ...
    async def load_head(self, user_id: str, thread_id: str, said: ThreadSnapshot) -> ThreadSnapshot: ...
    async def load_older(self, user_id: str, thread_id: str, said: ThreadSnapshot, count: int) -> ThreadSnapshot: ...
    async def read(self, user_id: str, thread_id: str, last: int, *, since: int = 0) -> list[Item]: ...


class ResponseStore(Protocol):
    async def get(self, user_id: str, response_id: str) -> StoredResponse: ...


class Leases(Protocol):
    async def add(self, user_id: str, response_id: str) -> None: ...
    async def remove(self, user_id: str, response_id: str, *, of: str | None = None) -> None: ...


class UsageStore(Protocol):
    async def add(self, user_id: str, usage: Usage) -> None: ...


class Titles(Protocol):
    def schedule(self, user_id: str, conversation_id: str, question: str, answer: str) -> None: ...
