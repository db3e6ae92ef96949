import asyncio
import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, cast

import httpx2
import pytest
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from auth_service.accounts import Account, Role
from auth_service.app import create_app
from auth_service.audit import COMMAND_LINE, Action
from auth_service.routes.state import State
from auth_service.settings import Settings
from auth_service.store.database import Database
from auth_service.store.migration import migrate, open_database
from auth_service.store.stores import Stores
from auth_service.tokens import Scope as TokenScope
from tests.auth_service import postgresql
from tests.auth_service.fakes import CountingHasher
from tests.auth_service.postgresql import PostgreSQL

CREDENTIAL: Final = "Zq8vK2mN5xR7tY1wB4cF6hJ9pL3sD0gAeU"
PASSWORD: Final = "correct horse battery"

# For tests that do not depend on the database: they run on one of the two.
sqlite_only: Final = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    with postgresql.running() as server:
        server.run("CREATE DATABASE auth")
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: the test runs once on each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'auth.db'}"
    postgres: PostgreSQL = request.getfixturevalue("postgres")
    postgres.empty("auth")
    return postgres.url("auth")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with the latest schema."""
    file = tmp_path_factory.mktemp("migrated") / "auth.db"
    asyncio.run(migrate(f"sqlite+aiosqlite:///{file}"))
    return file


@pytest.fixture
def migrated_url(database_url: str, migrated_file: Path) -> str:
    """Like `database_url`, but already migrated, which takes 40 ms. PostgreSQL keeps its schema between tests."""
    if database_url.startswith("sqlite"):
        shutil.copy(migrated_file, database_url.partition("///")[2])
    return database_url


@pytest.fixture
async def database(migrated_url: str) -> AsyncGenerator[Database]:
    async with open_database(migrated_url) as database:
        yield database


@pytest.fixture
async def stores(database: Database) -> Stores:
    return Stores.from_database(database)


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


@pytest.fixture
def settings(migrated_url: str) -> Settings:
    return Settings(
        database_url=SecretStr(migrated_url), introspection_credential=SecretStr(CREDENTIAL), cookie_secure=False
    )


@dataclass(frozen=True)
class Service:
    """The app in this process: its HTTP client, its state and its fake hasher."""

    http: httpx2.AsyncClient
    app: ASGIApp
    state: State
    hasher: CountingHasher

    def new_browser(self, address: str) -> httpx2.AsyncClient:
        """Returns another HTTP client with cookies of its own."""
        return http_client(self.app, address)

    async def add_user(self, name: str = "alice", password: str | None = PASSWORD, role: Role = Role.USER) -> Account:
        account = await self.state["administration"].add_user(name, password, role, COMMAND_LINE)
        self.hasher.operations.clear()
        return account

    async def create_key(self, name: str = "alice", scope: TokenScope = TokenScope.CHAT) -> str:
        account = await self.state["administration"].get_by_name(name)
        _, token = await self.state["keys"].create(account, "laptop", scope, COMMAND_LINE)
        return token

    async def login(self, name: str = "alice", password: str = PASSWORD) -> httpx2.Response:
        return await self.http.post("/auth/login", json={"username": name, "password": password})

    async def log_in_elsewhere(self, name: str = "alice", password: str = PASSWORD) -> str:
        """Returns the token of a session in another browser; the cookies of `http` stay the same."""
        before = dict(self.http.cookies)
        self.http.cookies.clear()
        token = (await self.login(name, password)).cookies["parley_session"]
        self.http.cookies.clear()
        self.http.cookies.update(before)
        return token

    async def introspect(self, **form: str) -> httpx2.Response:
        return await self.http.post("/introspect", data=form, headers=GATEWAY)

    async def audit_actions(self) -> list[Action]:
        """Returns the actions of the audit log, the oldest first."""
        return [entry.action for entry in reversed(await self.state["administration"].list_audit(1000, None))]


GATEWAY: Final = {"Authorization": f"Bearer {CREDENTIAL}"}


def http_client(app: ASGIApp, address: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app, client=(address, 50000)), base_url="http://chat.test")


@cache
def app_with_routes() -> ASGIApp:
    """One for all tests, because FastAPI builds the routes at an app's first requests, which takes 60 ms. Nothing in it
    depends on the settings: they reach the routes through the state, which each test has of its own."""
    settings = Settings(database_url=SecretStr("sqlite+aiosqlite://"), introspection_credential=SecretStr(CREDENTIAL))
    return create_app(settings)


@asynccontextmanager
async def running(settings: Settings, hasher: CountingHasher, address: str = "192.0.2.1") -> AsyncGenerator[Service]:
    app, served = create_app(settings, hasher), app_with_routes()
    async with app.router.lifespan_context(app) as opened_state:
        state = cast("State", opened_state)

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await served(dict(scope) | {"state": dict(state)}, receive, send)

        async with http_client(with_state, address) as http:
            hasher.operations.clear()
            yield Service(http, with_state, state, hasher)


@pytest.fixture
async def service(settings: Settings, hasher: CountingHasher) -> AsyncGenerator[Service]:
    async with running(settings, hasher) as service:
        yield service


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    """The environment variables of a server or a command in its own process; the server selects a free port."""
    return {
        "AUTH_DATABASE_URL": database_url,
        "AUTH_INTROSPECTION_CREDENTIAL": CREDENTIAL,
        "AUTH_COOKIE_SECURE": "false",
        "AUTH_PORT": "0",
    }
