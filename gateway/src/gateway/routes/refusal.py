"""An error as an HTTP answer."""

from collections.abc import Mapping

from fastapi.responses import JSONResponse

from gateway.errors import ParleyError


def refusal(error: ParleyError, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """With the error's own status and headers, unless the web framework knows better."""
    body = {"error": error.body()}
    return JSONResponse(body, status_code=status or error.status, headers={**error.headers(), **(headers or {})})
