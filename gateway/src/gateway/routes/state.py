"""What the lifespan opens and every route may use."""

from typing import TypedDict

from gateway.history import History
from gateway.identity import Identity
from gateway.presence import Presence
from gateway.turns import Turns


class State(TypedDict):
    identity: Identity
    history: History
    turns: Turns
    presence: Presence
    allowed_origins: frozenset[str]
