"""Log-in at an OpenID provider. Browsers navigate to these routes, so errors redirect to the page, which shows them."""

import logging
from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from auth_service.errors import (
    AuthError,
    InvalidCredentials,
    NotFound,
    OpenidRefused,
    ProviderUnavailable,
    StoreUnavailable,
)
from auth_service.openid_flow import Flow
from auth_service.openid_logins import OpenidLogins
from auth_service.routes.login import start_session
from auth_service.routes.responses import no_store
from auth_service.routes.state import ClientAddress, OpenState, State

log: Final = logging.getLogger(__name__)
router: Final = APIRouter(prefix="/auth/openid", dependencies=[Depends(no_store)])
# The fragment is read by the page and never sent to a server. The codes are in docs/protocol.md.
_ERROR_URL: Final = "/#login-error="


@router.get("/login", status_code=303, response_class=RedirectResponse)
async def begin(request: Request, state: OpenState) -> Response:
    flow = Flow.begin()
    try:
        response = _redirect(await _require_openid(state).begin(flow))
    except ProviderUnavailable as exc:
        return _redirect_error(exc)
    state["cookies"].openid.set(request, response, flow.secret)
    return response


@router.get("/callback", status_code=303, response_class=RedirectResponse)
async def finish(request: Request, address: ClientAddress, state: OpenState) -> Response:
    openid, cookie = _require_openid(state), state["cookies"].openid
    secret, query = cookie.read(request), request.query_params
    try:
        account = await openid.finish(Flow(secret) if secret else None, query.get("state"), query.get("code"), address)
        response = _redirect("/")
        await start_session(account, request, response, address, state)
    except InvalidCredentials:
        response = _redirect_error(OpenidRefused("openid_no_account", "the account was changed during the log-in"))
    except (OpenidRefused, ProviderUnavailable) as exc:
        response = _redirect_error(exc)
    except StoreUnavailable as exc:
        log.error("database unavailable", extra={"reason": exc.reason})  # noqa: TRY400
        response = _redirect(_ERROR_URL + ProviderUnavailable.code)
    # Each flow allows one attempt.
    cookie.clear(request, response)
    return response


def _require_openid(state: State) -> OpenidLogins:
    if state["openid"] is None:
        raise NotFound("log-in method")
    return state["openid"]


def _redirect_error(error: AuthError) -> Response:
    reason = error.reason if isinstance(error, ProviderUnavailable) else str(error)
    log.warning("openid login refused", extra={"code": error.code, "reason": reason})
    return _redirect(_ERROR_URL + error.code)


def _redirect(url: str) -> Response:
    return RedirectResponse(url, 303, {"Cache-Control": "no-store"})
