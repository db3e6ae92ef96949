"""What one gateway asks of another."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CancelTurn:
    """`requested_at_ms`: when the user first asked for it, in Unix milliseconds by the clock of Redis."""

    response_id: str
    requested_at_ms: int


@dataclass(frozen=True, slots=True)
class TakeOverTurns:
    """`gateway_id` has released its turns."""

    gateway_id: str


GatewayCommand = CancelTurn | TakeOverTurns
