"""Tests of auth_service.routes.health."""

from pathlib import Path

import httpx2
from starlette.types import Receive, Scope, Send

from auth_service.app import create_app
from auth_service.settings import Settings
from auth_service.store.database import Database
from auth_service.store.stores import Stores
from tests.auth_service.conftest import Service, sqlite_only


async def test_a_running_service_is_alive_and_ready(service: Service) -> None:
    for path in ["/healthz", "/readyz"]:
        response = await service.http.get(path)
        assert response.status_code == 200
        assert response.json() == {"status": "ok"}


@sqlite_only
async def test_without_its_database_it_is_alive_and_reports_what_is_missing(settings: Settings, tmp_path: Path) -> None:
    app, never_migrated = create_app(settings), Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}")

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        await app(dict(scope) | {"state": {"stores": Stores.from_database(never_migrated)}}, receive, send)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(with_state), base_url="http://chat.test") as http:
        assert (await http.get("/healthz")).status_code == 200
        response = await http.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {"status": "unavailable", "missing": ["database"]}
    await never_migrated.close()
