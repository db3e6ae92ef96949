from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
import pytest
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from auth_service.accounts import Account, Role
from auth_service.administration import Administration
from auth_service.app import create_app
from auth_service.settings import Settings
from auth_service.store.accounts import AccountStore
from auth_service.store.api_keys import ApiKeyStore
from auth_service.store.database import Database
from auth_service.store.migration import opened
from tests.auth_service.fakes import CountingHasher

CREDENTIAL: Final = "Zq8vK2mN5xR7tY1wB4cF6hJ9pL3sD0gAeU"
PASSWORD: Final = "correct horse battery"


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'auth.db'}"


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    async with opened(database_url) as database:
        yield database


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=SecretStr(database_url), introspection_credential=SecretStr(CREDENTIAL), cookie_secure=False
    )


@dataclass(frozen=True)
class Parley:
    """The app as a client sees it, and the administrator's hand on its database."""

    http: httpx2.AsyncClient
    administration: Administration
    accounts: AccountStore
    hasher: CountingHasher

    async def user(self, name: str = "alice", password: str = PASSWORD, role: Role = Role.USER) -> Account:
        account = await self.administration.add_user(name, password, role)
        self.hasher.operations.clear()
        return account

    async def login(self, name: str = "alice", password: str = PASSWORD) -> httpx2.Response:
        return await self.http.post("/auth/login", json={"username": name, "password": password})

    async def introspect(self, **form: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {CREDENTIAL}"}
        return await self.http.post("/introspect", data=form, headers=headers)


@asynccontextmanager
async def running(settings: Settings, hasher: CountingHasher, address: str = "192.0.2.1") -> AsyncGenerator[Parley]:
    app = create_app(settings, hasher)
    async with app.router.lifespan_context(app) as state, opened(settings.database_url.get_secret_value()) as database:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app(dict(scope) | {"state": dict(state or {})}, receive, send)

        transport = httpx2.ASGITransport(with_state, client=(address, 50000))
        accounts = AccountStore(database)
        administration = Administration(accounts, ApiKeyStore(database), hasher)
        async with httpx2.AsyncClient(transport=transport, base_url="http://chat.test") as http:
            hasher.operations.clear()
            yield Parley(http, administration, accounts, hasher)


@pytest.fixture
async def parley(settings: Settings, hasher: CountingHasher) -> AsyncGenerator[Parley]:
    async with running(settings, hasher) as parley:
        yield parley


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    """Of a process of its own; the port is any free one."""
    return {
        "AUTH_DATABASE_URL": database_url,
        "AUTH_INTROSPECTION_CREDENTIAL": CREDENTIAL,
        "AUTH_COOKIE_SECURE": "false",
        "AUTH_PORT": "0",
    }
