from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from auth_service.administration import Administration
from auth_service.hashing import Argon2id, HashingPool
from auth_service.keys import Keys
from auth_service.one_time_links import OneTimeLinks
from auth_service.revocations import announcing
from auth_service.sessions import Sessions
from auth_service.store.migration import opened
from auth_service.store.stores import Stores
from auth_service.tokens import Lifetime


@dataclass(frozen=True, slots=True)
class Place:
    """What the commands need to know of the settings."""

    database_url: str
    redis: tuple[str, str, str]
    audit_retention_seconds: int
    lifetime: Lifetime
    public_url: str
    invites: bool


@dataclass(frozen=True, slots=True)
class Desk:
    """What the commands work with."""

    administration: Administration
    keys: Keys
    links: OneTimeLinks
    sessions: Sessions
    place: Place


@asynccontextmanager
async def desk_at(place: Place) -> AsyncGenerator[Desk]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(opened(place.database_url))
        announcer = await stack.enter_async_context(announcing(*place.redis))
        hashing = HashingPool(Argon2id(), threads=1)
        stack.callback(hashing.close)
        stores = Stores.on(database, place.audit_retention_seconds)
        yield Desk(
            Administration(stores, announcer, hashing),
            Keys(stores, announcer),
            OneTimeLinks(stores),
            Sessions(stores, announcer, place.lifetime),
            place,
        )
