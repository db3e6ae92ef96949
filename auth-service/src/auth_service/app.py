"""The composition root: the only module that knows every other."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from starlette.middleware import Middleware

from auth_service import known_browsers
from auth_service.administration import Administration
from auth_service.hashing import Argon2id, Hasher, HashingPool
from auth_service.introspection import Introspection
from auth_service.keys import Keys
from auth_service.known_browsers import KnownBrowsers
from auth_service.logins import Logins
from auth_service.one_time_links import OneTimeLinks
from auth_service.openid_logins import OpenidLogins, Trust
from auth_service.openid_provider import OpenidProvider
from auth_service.openid_provider import Registration as ProviderRegistration
from auth_service.password_changes import PasswordChanges
from auth_service.registration import Mode, Registration
from auth_service.revocations import Announcer, announcing
from auth_service.routes import admin, answers, health, introspect, login, openid, own, tickets
from auth_service.routes.body_limit import BodyLimit
from auth_service.routes.cookies import Cookies
from auth_service.routes.state import Policy, State
from auth_service.sessions import Sessions
from auth_service.settings import Settings
from auth_service.store.migration import opened
from auth_service.store.stores import Stores
from auth_service.throttle import Throttle
from auth_service.tickets import Tickets
from auth_service.tokens import Lifetime

# The longest legitimate body is a change of password with two of 128 characters, each of up to 12 bytes as JSON
# escapes and of several code points before they are composed.
_BODY_LIMIT_BYTES: Final = 8192


def create_app(settings: Settings, hasher: Hasher | None = None) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[State]:
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(opened(settings.database_url.get_secret_value()))
            announcer = await stack.enter_async_context(
                announcing(settings.redis_url, settings.redis_user, settings.redis_password.get_secret_value())
            )
            hashing = HashingPool(hasher or Argon2id())
            stack.callback(hashing.close)
            yield _state(settings, Stores.on(database, settings.audit_retention_seconds), announcer, hashing)

    app = FastAPI(
        title="Parley auth-service",
        lifespan=lifespan,
        version=version("parley-auth-service"),
        openapi_url="/auth/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=answers.REFUSALS,
        middleware=[Middleware(BodyLimit, limit_bytes=_BODY_LIMIT_BYTES)],
    )
    answers.install(app)
    for routes in (login, own, tickets, admin, openid, introspect, health):
        app.include_router(routes.router)
    return app


def _state(settings: Settings, stores: Stores, announcer: Announcer, hashing: HashingPool) -> State:
    logins = Logins(stores, hashing, Throttle())
    sessions = Sessions(stores, announcer, Lifetime(settings.session_idle_seconds, settings.session_absolute_seconds))
    keys, tickets, links = Keys(stores, announcer), Tickets(stores), OneTimeLinks(stores)
    return State(
        **_policy(settings),
        stores=stores,
        logins=logins,
        browsers=KnownBrowsers(stores),
        sessions=sessions,
        keys=keys,
        tickets=tickets,
        introspection=Introspection(stores.accounts, sessions, keys, tickets, logins),
        registration=Registration(stores, hashing, links, Mode(settings.registration)),
        links=links,
        passwords=PasswordChanges(stores, announcer, hashing, logins, links),
        administration=Administration(stores, announcer, hashing),
        openid=_openid(settings, stores),
    )


def _policy(settings: Settings) -> Policy:
    return Policy(
        cookies=Cookies.of(
            secure=settings.cookie_secure,
            session_seconds=settings.session_absolute_seconds,
            browser_seconds=known_browsers.LIFETIME_SECONDS,
        ),
        allowed_origins=settings.allowed_origins,
        introspection_credential=settings.introspection_credential,
        public_url=settings.public_url,
    )


def _openid(settings: Settings, stores: Stores) -> OpenidLogins | None:
    if not settings.openid_issuer:
        return None
    registration = ProviderRegistration(
        issuer=settings.openid_issuer,
        client_id=settings.openid_client_id,
        client_secret=settings.openid_client_secret.get_secret_value(),
        redirect_uri=f"{settings.public_url}/auth/openid/callback",
    )
    trust = Trust(settings.openid_link_by_email, settings.openid_create_accounts)
    return OpenidLogins(stores, OpenidProvider(registration), settings.openid_name, trust)
