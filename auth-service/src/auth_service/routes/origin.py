from urllib.parse import urlsplit

from fastapi import Request

from auth_service.errors import ForeignOrigin
from auth_service.routes.state import OpenState


async def same_origin(request: Request, state: OpenState) -> None:
    """A dependency of every route that changes something. Raises ForeignOrigin.

    A browser sends Origin with every cross-origin POST; who sends none is no browser and has no cookie to abuse.
    """
    for origin in request.headers.getlist("origin"):
        if origin not in state["allowed_origins"] and not _names_host(origin, request.headers.getlist("host")):
            raise ForeignOrigin


def _names_host(origin: str, hosts: list[str]) -> bool:
    # Without the scheme: behind a proxy that ends TLS it is not known here. `null` has no host and is refused.
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and [parts.netloc.lower()] == [host.lower() for host in hosts]
