"""What the lifespan opens and every route may use."""

from dataclasses import dataclass
from typing import TypedDict

from gateway.context.defaults import Defaults
from gateway.engine.engines import Engines
from gateway.identity.introspection import Identity
from gateway.identity.revocations import Revocations
from gateway.routes.places import Places
from gateway.runtime.compaction import Compaction
from gateway.runtime.counting import Counting
from gateway.runtime.following import Following
from gateway.runtime.registry import Turns
from gateway.store.health import Storage
from gateway.store.history.conversations import Conversations
from gateway.store.history.responses import Responses
from gateway.store.presence import Presence
from gateway.store.usage import Accounting


@dataclass(frozen=True, slots=True)
class SocketLimits:
    age_seconds: float
    first_event_seconds: float


class State(TypedDict):
    identity: Identity
    engine: Engines
    conversations: Conversations
    responses: Responses
    accounting: Accounting
    defaults: Defaults
    storage: Storage
    turns: Turns
    following: Following
    compaction: Compaction
    counting: Counting
    presence: Presence
    revocations: Revocations
    places: Places
    socket_limits: SocketLimits
    allowed_origins: frozenset[str]
