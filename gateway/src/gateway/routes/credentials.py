"""The credential of a request: an API key in a header, or the session cookie of a page of our own."""

from typing import Any
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request

from gateway.errors import OriginRefused, Unauthenticated
from gateway.identity.introspection import Credential, User

# With TLS the cookie carries the prefix that ties it to this host (RFC 6265bis, 4.1.3.2): one without it may have been
# set by any page of a neighbouring host, and its session be somebody else's.
_COOKIE_OVER_TLS = "__Host-parley_session"
_COOKIE = "parley_session"
_TICKET = "openai-insecure-api-key."
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def credential(connection: HTTPConnection[Any]) -> Credential:
    """Raises Unauthenticated, or OriginRefused when a foreign page uses a session.

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
    token = _session(connection)
    if not token:
        raise Unauthenticated
    if connection.scope["type"] == "websocket" or connection.scope["method"] not in _SAFE_METHODS:
        _check_origin(connection)
    return Credential(token)


def _session(connection: HTTPConnection[Any]) -> str | None:
    prefixed = connection.cookies.get(_COOKIE_OVER_TLS)
    return prefixed if prefixed is not None or _over_tls(connection) else connection.cookies.get(_COOKIE)


def _over_tls(connection: HTTPConnection[Any]) -> bool:
    """nginx says so. What anybody else claims here can only make us stricter."""
    return connection.scope.get("scheme") in {"https", "wss"} or connection.headers.get("x-forwarded-proto") == "https"


def _ticket(connection: HTTPConnection[Any]) -> str | None:
    """Of a page of another origin, which can set neither header nor cookie on a handshake: OpenAI's own way."""
    for offered in connection.scope.get("subprotocols") or ():
        if offered.startswith(_TICKET):
            return str(offered.removeprefix(_TICKET))
    return None


async def current_user(request: Request) -> User:
    """The dependency of every HTTP route that belongs to a user."""
    user: User = await request.state.identity.authenticate(credential(request))
    return user


def _check_origin(connection: HTTPConnection[Any]) -> None:
    origin = connection.headers.get("origin", "")
    if origin in connection.state.allowed_origins:
        return
    try:
        # Host and port only: TLS may end in front of nginx, so the scheme seen here may differ from the page's.
        host = urlsplit(origin).netloc.lower()
    except ValueError:
        raise OriginRefused(origin) from None
    if not host or host != connection.headers.get("host", "").lower():
        raise OriginRefused(origin)
