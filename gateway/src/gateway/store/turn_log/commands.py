"""Commands between gateways as entries of a control stream."""

from gateway.turn.commands import CancelTurn, GatewayCommand, TakeOverTurns
from gateway.turn.log_entry import Fields


def encode_command(command: GatewayCommand) -> dict[str, str]:
    # Names as in earlier versions: during an update, gateways of both versions run.
    match command:
        case CancelTurn(response_id, requested_at_ms):
            return {"cancel": response_id, "wished_ms": str(requested_at_ms)}
        case TakeOverTurns(gateway_id):
            return {"released": gateway_id}


def decode_command(fields: Fields) -> GatewayCommand | None:
    """None for an entry that only wakes the reader."""
    if b"cancel" in fields:
        return CancelTurn(fields[b"cancel"].decode(), int(fields[b"wished_ms"]))
    if b"released" in fields:
        return TakeOverTurns(fields[b"released"].decode())
    return None
