import json
from typing import Any

from gateway.errors import Unavailable
from gateway.routes.health import ready


class Check:
    def __init__(self, missing: str = "") -> None:
        self._missing = missing

    async def ping(self) -> None:
        if self._missing:
            raise Unavailable(self._missing)


async def test_a_gateway_is_ready_if_its_dependencies_are() -> None:
    state: Any = {"storage_health": Check(), "identity": Check()}
    assert (await ready(state)).status_code == 200


async def test_every_missing_dependency_is_named() -> None:
    state: Any = {"storage_health": Check("redis"), "identity": Check("auth-service")}
    response = await ready(state)
    assert response.status_code == 503
    assert json.loads(bytes(response.body)) == {"status": "unavailable", "missing": ["redis", "auth-service"]}
