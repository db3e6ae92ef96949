"""The composition root: the only module that knows every other."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from fastapi import FastAPI
from starlette.middleware import Middleware

from auth_service.hashing import Argon2id, Hasher, HashingPool
from auth_service.introspection import Introspection
from auth_service.logins import Logins
from auth_service.routes import answers, health
from auth_service.routes.body_limit import BodyLimit
from auth_service.routes.cookies import SessionCookie
from auth_service.routes.introspect import introspection_routes
from auth_service.routes.login import login_routes
from auth_service.routes.state import State
from auth_service.sessions import Sessions
from auth_service.settings import Settings
from auth_service.store.accounts import AccountStore
from auth_service.store.api_keys import ApiKeyStore
from auth_service.store.migration import opened
from auth_service.store.sessions import SessionStore
from auth_service.throttle import Throttle
from auth_service.tokens import Lifetime

# The longest legitimate body is a log-in with a password of 128 characters, each of up to 12 bytes as JSON escapes
# and of several code points before they are composed.
_BODY_LIMIT_BYTES: Final = 8192


def create_app(settings: Settings, hasher: Hasher | None = None) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[State]:
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(opened(settings.database_url.get_secret_value()))
            hashing = HashingPool(hasher or Argon2id())
            stack.callback(hashing.close)
            accounts = AccountStore(database)
            logins = Logins(accounts, hashing, Throttle())
            lifetime = Lifetime(settings.session_idle_seconds, settings.session_absolute_seconds)
            sessions = Sessions(SessionStore(database), accounts, lifetime)
            introspection = Introspection(accounts, ApiKeyStore(database), sessions, logins)
            yield State(database=database, logins=logins, sessions=sessions, introspection=introspection)

    app = FastAPI(
        title="Parley auth-service",
        lifespan=lifespan,
        openapi_url=None,
        middleware=[Middleware(BodyLimit, limit_bytes=_BODY_LIMIT_BYTES)],
    )
    answers.install(app)
    cookie = SessionCookie(settings.cookie_secure, settings.session_absolute_seconds)
    app.include_router(login_routes(cookie, settings.allowed_origins))
    app.include_router(introspection_routes(settings.introspection_credential.get_secret_value()))
    app.include_router(health.router)
    return app
