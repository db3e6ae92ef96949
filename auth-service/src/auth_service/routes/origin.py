from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import Request

from auth_service.errors import ForeignOrigin


def same_origin(allowed: tuple[str, ...]) -> Callable[[Request], Awaitable[None]]:
    """A dependency for routes that change something and are trusted by a cookie. Raises ForeignOrigin.

    A browser sends Origin with every cross-origin POST; who sends none is no browser and has no cookie to abuse.
    """

    async def check(request: Request) -> None:
        for origin in request.headers.getlist("origin"):
            if origin not in allowed and not _names_host(origin, request.headers.getlist("host")):
                raise ForeignOrigin

    return check


def _names_host(origin: str, hosts: list[str]) -> bool:
    # Without the scheme: behind a proxy that ends TLS it is not known here. `null` has no host and is refused.
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and [parts.netloc.lower()] == [host.lower() for host in hosts]
