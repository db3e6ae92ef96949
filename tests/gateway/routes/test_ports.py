"""`gateway.routes.ports`, and `gateway.routes.state`, which consists of them."""

from typing import Any, get_type_hints

import pytest

from gateway.routes import ports
from gateway.routes.state import State, lifespan_state

PORTS = [
    one for one in vars(ports).values() if getattr(one, "_is_protocol", False) and one.__module__ == ports.__name__
]


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.__name__)
def test_a_port_has_at_most_five_methods(port: type) -> None:
    methods = [name for name in vars(port) if name == "__call__" or not name.startswith("_")]
    assert 1 <= len(methods) <= 5


def test_a_route_knows_no_adapter_of_redis_or_the_engine() -> None:
    modules = {kind.__module__ for kind in get_type_hints(State).values()}
    assert not [name for name in modules if name.startswith(("gateway.store", "gateway.engine"))]


def test_the_state_of_a_scope_is_what_the_lifespan_opened() -> None:
    opened: Any = {"allowed_origins": frozenset({"https://a.example"})}
    assert lifespan_state({"type": "http", "state": opened}) is opened
