from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from auth_service.administration import Administration
from auth_service.api_keys import ApiKeys
from auth_service.hashing import Argon2id, HashingPool
from auth_service.one_time_links import OneTimeLinks
from auth_service.revocations import open_announcer
from auth_service.sessions import Sessions
from auth_service.store.migration import open_database
from auth_service.store.stores import Stores
from auth_service.tokens import SessionLifetime


@dataclass(frozen=True, slots=True)
class CommandConfig:
    """The settings of the commands; `redis` is a URL, a user and a password."""

    database_url: str
    redis: tuple[str, str, str]
    audit_retention_seconds: int
    lifetime: SessionLifetime
    public_url: str
    invites_enabled: bool


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The use cases a command calls."""

    administration: Administration
    keys: ApiKeys
    links: OneTimeLinks
    sessions: Sessions
    config: CommandConfig


@asynccontextmanager
async def open_context(config: CommandConfig) -> AsyncGenerator[CommandContext]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(config.database_url))
        announcer = await stack.enter_async_context(open_announcer(*config.redis))
        hashing = HashingPool(Argon2id(), threads=1)
        stack.callback(hashing.close)
        stores = Stores.from_database(database, config.audit_retention_seconds)
        yield CommandContext(
            Administration(stores, announcer, hashing),
            ApiKeys(stores, announcer),
            OneTimeLinks(stores),
            Sessions(stores, announcer, config.lifetime),
            config,
        )
