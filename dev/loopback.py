"""HTTP to the stack's own servers, and to the engine that the user names: direct, whatever proxy the shell has set."""

from http.client import HTTPException, HTTPResponse
from typing import cast
from urllib.request import ProxyHandler, Request, build_opener

# Nothing listens there, the answer is not HTTP or not JSON, or the address is invalid. HTTPError (a status of 400 or
# above) is an OSError.
REQUEST_ERRORS = (OSError, ValueError, HTTPException)

_OPENER = build_opener(ProxyHandler({}))


def fetch(request: str | Request, timeout_seconds: float = 5) -> HTTPResponse:
    """Raises HTTPError for a status of 400 or above, and the other REQUEST_ERRORS."""
    return cast("HTTPResponse", _OPENER.open(request, timeout=timeout_seconds))
