from urllib.parse import urlsplit

from fastapi import Request

from auth_service.errors import ForeignOrigin
from auth_service.routes.state import OpenState


async def require_same_origin(request: Request, state: OpenState) -> None:
    """A dependency of every route that changes state, against cross-site request forgery. Raises ForeignOrigin.

    Browsers send Origin with every cross-origin POST; a client that sends none is not a browser.
    """
    for origin in request.headers.getlist("origin"):
        if origin not in state["allowed_origins"] and not _names_host(origin, request.headers.getlist("host")):
            raise ForeignOrigin


def _names_host(origin: str, hosts: list[str]) -> bool:
    # Ignores the scheme, which is unknown behind a proxy that terminates TLS. `null` has no host and is rejected.
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and [parts.netloc.lower()] == [host.lower() for host in hosts]
