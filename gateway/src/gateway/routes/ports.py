"""What the routes need of the adapters, which `gateway.lifespan` passes in."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from gateway.protocol.chat_completions import ChatCompletion
from gateway.protocol.input_items import InputItem
from gateway.protocol.items import Item
from gateway.protocol.resources import Conversation, ConversationPage, Generation, Order, Page, Usage
from gateway.protocol.usage import UsageOfDay


class ConversationStore(Protocol):
    """Every method raises Unavailable; NotFound for another user's conversation as for an absent one."""

    async def create(
        self, user_id: str, metadata: Mapping[str, str], *, generation: Generation, items: Sequence[InputItem]
    ) -> Conversation: ...
    async def ensure(self, user_id: str, conversation: Conversation) -> None: ...
    async def conversation(self, user_id: str, conversation_id: str) -> Conversation: ...
    async def update(
        self,
        user_id: str,
        conversation_id: str,
        *,
        metadata: Mapping[str, str] | None,
        generation: Generation | None,
    ) -> Conversation: ...
    async def delete(self, user_id: str, conversation_id: str) -> Sequence[str]:
        """Returns the ids of the responses that are still running in it."""


class ConversationItemStore(Protocol):
    """Raises as ConversationStore does."""

    async def create(self, user_id: str, conversation_id: str, items: Sequence[InputItem]) -> Page[Item]: ...
    async def page(
        self, user_id: str, conversation_id: str, *, limit: int, after: str | None, order: Order
    ) -> Page[Item]: ...
    async def item(self, user_id: str, conversation_id: str, item_id: str) -> Item: ...
    async def delete(self, user_id: str, conversation_id: str, item_id: str) -> Conversation: ...


class ConversationIndex(Protocol):
    async def page(
        self, user_id: str, *, limit: int, after: str | None, order: Order, query: str | None
    ) -> ConversationPage:
        """Raises NotFound for an unknown `after`, InvalidRequest for a `query` of white space only, and Unavailable."""


class UsageStore(Protocol):
    async def add(self, user_id: str, usage: Usage) -> None: ...
    async def read(self, user_id: str, days: int) -> tuple[UsageOfDay, ...]: ...


class ServedModel(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def created(self) -> int: ...
    @property
    def max_model_len(self) -> int | None: ...


class ServedModels(Protocol):
    """Both methods raise Unavailable or EngineFailed."""

    async def model(self) -> str: ...
    async def served_model(self) -> ServedModel: ...


class ChatRelay(Protocol):
    """One chat completion. Cancelling it, or closing its events, stops the engine."""

    async def complete(self) -> bytes: ...
    def stream(self) -> AsyncGenerator[bytes]: ...
    async def usage(self) -> Usage | None:
        """None if the engine has not accepted the request."""


class ChatRelays(Protocol):
    def __call__(self, completion: ChatCompletion, *, user_id: str) -> ChatRelay: ...


class Presence(Protocol):
    def arrive(self, notify: Callable[[str], Awaitable[None]]) -> None: ...
    async def leave(self, notify: Callable[[str], Awaitable[None]], name: str) -> None: ...


class HealthCheck(Protocol):
    async def ping(self) -> None:
        """Raises Unavailable."""
