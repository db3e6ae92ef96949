"""What the lifespan opens, and how a route gets it.

Dependencies are coroutines even if they await nothing: FastAPI sends a plain function through its thread pool.
"""

from dataclasses import dataclass
from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request
from starlette.types import Scope

from gateway.identity.identity import Identity
from gateway.identity.revocations import Revocations
from gateway.routes.ports import (
    ChatRelays,
    ConversationIndex,
    ConversationItemStore,
    ConversationStore,
    HealthCheck,
    Presence,
    ServedModels,
    UsageStore,
)
from gateway.runtime.acceptance import TurnAcceptance
from gateway.runtime.compaction import Compaction
from gateway.runtime.concurrency_limit import ConcurrencyLimit
from gateway.runtime.counting import TokenCounter
from gateway.runtime.following import ResponseFollower


@dataclass(frozen=True, slots=True)
class SocketLimits:
    age_seconds: float
    first_event_seconds: float


class State(TypedDict):
    identity: Identity
    revocations: Revocations
    allowed_origins: frozenset[str]
    connections: ConcurrencyLimit
    requests: ConcurrencyLimit
    answers: ConcurrencyLimit
    socket_limits: SocketLimits
    turns: TurnAcceptance
    follower: ResponseFollower
    compaction: Compaction
    token_counter: TokenCounter
    conversations: ConversationStore
    conversation_items: ConversationItemStore
    conversation_index: ConversationIndex
    usage: UsageStore
    models: ServedModels
    chat_relays: ChatRelays
    presence: Presence
    storage_health: HealthCheck


def lifespan_state(scope: Scope) -> State:
    """ASGI types it as a dictionary of anything; its type is stated here, once."""
    return cast("State", scope["state"])


async def _open_state(request: Request) -> State:
    return lifespan_state(request.scope)


OpenState = Annotated[State, Depends(_open_state)]
