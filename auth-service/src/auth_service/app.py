"""The composition root: builds the application from the settings."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from starlette.middleware import Middleware

from auth_service import device_cookies
from auth_service.administration import Administration
from auth_service.api_keys import ApiKeys
from auth_service.device_cookies import DeviceCookies
from auth_service.hashing import Argon2id, Hasher, HashingPool
from auth_service.introspection import Introspection
from auth_service.logins import Logins
from auth_service.one_time_links import OneTimeLinks
from auth_service.openid_logins import LinkPolicy, OpenidLogins
from auth_service.openid_provider import ClientRegistration, OpenidProvider
from auth_service.password_changes import PasswordChanges
from auth_service.registration import Registration, RegistrationMode
from auth_service.revocations import Announcer, open_announcer
from auth_service.routes import admin, health, introspect, login, openid, own_account, responses, tickets
from auth_service.routes.body_limit import BodyLimit
from auth_service.routes.cookies import Cookies
from auth_service.routes.state import RouteSettings, State
from auth_service.sessions import Sessions
from auth_service.settings import Settings
from auth_service.store.migration import open_database
from auth_service.store.stores import Stores
from auth_service.throttle import Throttle
from auth_service.tickets import Tickets
from auth_service.tokens import SessionLifetime

# The largest legitimate body changes a password: twice 128 characters of up to 12 bytes as JSON escapes and of several
# code points before normalization.
_BODY_LIMIT_BYTES: Final = 8192


def create_app(settings: Settings, hasher: Hasher | None = None) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[State]:
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(open_database(settings.database_url.get_secret_value()))
            announcer = await stack.enter_async_context(
                open_announcer(settings.redis_url, settings.redis_user, settings.redis_password.get_secret_value())
            )
            hashing = HashingPool(hasher or Argon2id())
            stack.callback(hashing.close)
            yield _state(settings, Stores.from_database(database, settings.audit_retention_seconds), announcer, hashing)

    app = FastAPI(
        title="Parley auth-service",
        lifespan=lifespan,
        version=version("parley-auth-service"),
        openapi_url="/auth/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=responses.ERROR_RESPONSES,
        middleware=[Middleware(BodyLimit, limit_bytes=_BODY_LIMIT_BYTES)],
    )
    responses.install_error_handlers(app)
    for module in (login, own_account, tickets, admin, openid, introspect, health):
        app.include_router(module.router)
    return app


def _state(settings: Settings, stores: Stores, announcer: Announcer, hashing: HashingPool) -> State:
    logins = Logins(stores, hashing, Throttle())
    sessions = Sessions(
        stores, announcer, SessionLifetime(settings.session_idle_seconds, settings.session_absolute_seconds)
    )
    keys, tickets, links = ApiKeys(stores, announcer), Tickets(stores), OneTimeLinks(stores)
    return State(
        **_route_settings(settings),
        stores=stores,
        logins=logins,
        device_cookies=DeviceCookies(stores),
        sessions=sessions,
        keys=keys,
        tickets=tickets,
        introspection=Introspection(stores.accounts, sessions, keys, tickets, logins),
        registration=Registration(stores, hashing, links, RegistrationMode(settings.registration)),
        links=links,
        passwords=PasswordChanges(stores, announcer, hashing, logins, links),
        administration=Administration(stores, announcer, hashing),
        openid=_openid(settings, stores),
    )


def _route_settings(settings: Settings) -> RouteSettings:
    return RouteSettings(
        cookies=Cookies.of(
            secure=settings.cookie_secure,
            session_seconds=settings.session_absolute_seconds,
            device_seconds=device_cookies.LIFETIME_SECONDS,
        ),
        allowed_origins=settings.allowed_origins,
        introspection_credential=settings.introspection_credential,
        public_url=settings.public_url,
    )


def _openid(settings: Settings, stores: Stores) -> OpenidLogins | None:
    if not settings.openid_issuer:
        return None
    registration = ClientRegistration(
        issuer=settings.openid_issuer,
        client_id=settings.openid_client_id,
        client_secret=settings.openid_client_secret.get_secret_value(),
        redirect_uri=f"{settings.public_url}/auth/openid/callback",
    )
    link_policy = LinkPolicy(settings.openid_link_by_email, settings.openid_create_accounts)
    return OpenidLogins(stores, OpenidProvider(registration), settings.openid_name, link_policy)
