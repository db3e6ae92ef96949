"""HTTP to the stack's own servers, and to the engine that the user names: straight, whatever proxy the shell has."""

from http.client import HTTPException, HTTPResponse
from typing import cast
from urllib.request import ProxyHandler, Request, build_opener

# Nobody listens, it is not HTTP or not JSON, or the address is none. HTTPError, a status from 400 on, is an OSError.
NO_ANSWER = (OSError, ValueError, HTTPException)

_OPENER = build_opener(ProxyHandler({}))


def ask(request: str | Request, timeout_seconds: float = 5) -> HTTPResponse:
    """Raises HTTPError for a status from 400 on, and what else NO_ANSWER names."""
    return cast("HTTPResponse", _OPENER.open(request, timeout=timeout_seconds))
