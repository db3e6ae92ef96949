from typing import Final
from urllib.parse import urlsplit

from fastapi import Request

from auth_service.errors import ForeignOrigin
from auth_service.routes.cookies import is_over_tls
from auth_service.routes.state import OpenState

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


async def require_same_origin(request: Request, state: OpenState) -> None:
    """A dependency of every route that changes state, against cross-site request forgery. Raises ForeignOrigin.

    Browsers send Origin with every cross-origin POST; a client that sends none is not a browser.
    """
    for origin in request.headers.getlist("origin"):
        if origin not in state["allowed_origins"] and not _is_own(origin, request):
            raise ForeignOrigin


def _is_own(origin: str, request: Request) -> bool:
    """`null` has no host and is rejected."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # Without TLS here, a proxy that is not trusted may have terminated it: the scheme of the page is unknown.
    schemes = {"https"} if is_over_tls(request) else {"http", "https"}
    if parts.scheme not in schemes or not parts.hostname:
        return False
    hosts = [_without_default_port(parts.scheme, host) for host in request.headers.getlist("host")]
    return hosts == [_without_default_port(parts.scheme, parts.netloc)]


def _without_default_port(scheme: str, host: str) -> str:
    """An Origin never has it, a Host may (RFC 9110, 4.2.3)."""
    return host.lower().removesuffix(_DEFAULT_PORTS[scheme])
