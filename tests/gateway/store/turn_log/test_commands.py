import pytest

from gateway.store.turn_log.commands import decode_command, encode_command
from gateway.turn.commands import CancelTurn, GatewayCommand, TakeOverTurns


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        (CancelTurn("resp_1", 1_763_830_000_123), {"cancel": "resp_1", "wished_ms": "1763830000123"}),
        (TakeOverTurns("g1"), {"released": "g1"}),
    ],
)
def test_a_command_has_the_fields_that_other_versions_read(command: GatewayCommand, fields: dict[str, str]) -> None:
    assert encode_command(command) == fields
    assert decode_command({name.encode(): value.encode() for name, value in fields.items()}) == command


@pytest.mark.parametrize("fields", [{b"wake": b"1"}, {b"of a later version": b"1"}])
def test_an_entry_without_a_known_command_is_ignored(fields: dict[bytes, bytes]) -> None:
    assert decode_command(fields) is None
