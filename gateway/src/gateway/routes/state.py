"""What the lifespan opens and every route may use."""

from dataclasses import dataclass
from typing import TypedDict

from gateway.context.defaults import Defaults
from gateway.engine.balancer import EngineBalancer
from gateway.identity.identity import Identity
from gateway.identity.revocations import Revocations
from gateway.routes.places import ConnectionLimit
from gateway.runtime.acceptance import TurnAcceptance
from gateway.runtime.compaction import Compaction
from gateway.runtime.counting import TokenCounter
from gateway.runtime.following import ResponseFollower
from gateway.store.health import StorageHealth
from gateway.store.history.conversations import Conversations
from gateway.store.history.responses import ResponseStore
from gateway.store.presence import Presence
from gateway.store.usage import UsageStore


@dataclass(frozen=True, slots=True)
class SocketLimits:
    age_seconds: float
    first_event_seconds: float


class State(TypedDict):
    identity: Identity
    engine: EngineBalancer
    conversations: Conversations
    responses: ResponseStore
    accounting: UsageStore
    defaults: Defaults
    storage: StorageHealth
    turns: TurnAcceptance
    following: ResponseFollower
    compaction: Compaction
    counting: TokenCounter
    presence: Presence
    revocations: Revocations
    places: ConnectionLimit
    socket_limits: SocketLimits
    allowed_origins: frozenset[str]
