"""The credential of a request: an API key in a header, or the session cookie of a page of this site."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import HTTPConnection, Request

from gateway.errors import OriginRefused, Unauthenticated
from gateway.identity.introspection import Credential, User
from gateway.loop_lag import name_work
from gateway.pauses import user_at_work
from gateway.routes.state import OpenState, lifespan_state

# Over TLS the cookie has the prefix that binds it to this host (RFC 6265bis, 4.1.3.2): one without it may have been
# set by any page of a sibling host, and carry another user's session.
_COOKIE_OVER_TLS = "__Host-parley_session"
_COOKIE = "parley_session"
_TICKET_PREFIX = "openai-insecure-api-key."
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def read_credential(connection: HTTPConnection[Any]) -> Credential:
    """Raises Unauthenticated, or OriginRefused when a page of another origin uses a session.

    A browser sends cookies along with any page's handshake, so a cookie counts only together with our own Origin.
    """
    ticket = _ticket(connection)
    if ticket is not None:
        return Credential(ticket)
    header = connection.headers.get("authorization")
    if header is not None:
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthenticated
        return Credential(key.strip())
    token = _session_token(connection)
    if not token:
        raise Unauthenticated
    if connection.scope["type"] == "websocket" or connection.scope["method"] not in _SAFE_METHODS:
        _check_origin(connection)
    return Credential(token)


def _session_token(connection: HTTPConnection[Any]) -> str | None:
    prefixed = connection.cookies.get(_COOKIE_OVER_TLS)
    return prefixed if prefixed is not None or _is_over_tls(connection) else connection.cookies.get(_COOKIE)


def _is_over_tls(connection: HTTPConnection[Any]) -> bool:
    """nginx sets the header, as a trusted proxy reports it."""
    return connection.scope.get("scheme") in {"https", "wss"} or connection.headers.get("x-forwarded-proto") == "https"


def _ticket(connection: HTTPConnection[Any]) -> str | None:
    """A page of another origin can set neither header nor cookie on a handshake; the subprotocol is OpenAI's own
    way."""
    for offered in connection.scope.get("subprotocols") or ():
        if offered.startswith(_TICKET_PREFIX):
            return str(offered.removeprefix(_TICKET_PREFIX))
    return None


async def current_user(request: Request, state: OpenState) -> AsyncGenerator[User]:
    """Raises TooManyRequests for a user who has too many requests in progress: one is until its response has been
    sent."""
    user = await state["identity"].authenticate(read_credential(request))
    begin_work(request, user)
    with state["requests"].hold(user.id):
        yield user


def begin_work(connection: HTTPConnection[Any], user: User) -> None:
    """For pauses and for the log: this task works for a request of the user."""
    user_at_work.set(user.id)
    name_work(connection.headers.get("x-request-id", ""))


CurrentUser = Annotated[User, Depends(current_user)]
"""The dependency of every HTTP route that belongs to a user."""


def _check_origin(connection: HTTPConnection[Any]) -> None:
    origin = connection.headers.get("origin", "")
    if origin in lifespan_state(connection.scope)["allowed_origins"]:
        return
    try:
        parts = urlsplit(origin)
    except ValueError:
        raise OriginRefused(origin) from None
    # Without TLS here, a proxy that is not trusted may have terminated it: the scheme of the page is unknown.
    schemes = {"https"} if _is_over_tls(connection) else {"http", "https"}
    host = connection.headers.get("host", "")
    if parts.scheme not in schemes or not parts.hostname or not _are_same(parts.scheme, parts.netloc, host):
        raise OriginRefused(origin)


def _are_same(scheme: str, *hosts: str) -> bool:
    """An Origin never has the default port, a Host may (RFC 9110, 4.2.3)."""
    return len({host.lower().removesuffix(_DEFAULT_PORTS[scheme]) for host in hosts}) == 1
