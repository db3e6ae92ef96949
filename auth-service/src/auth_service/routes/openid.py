"""Log-in at a provider. These answer a browser that navigates, so a failure leads back to the page, which says it."""

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
from auth_service.routes.answers import not_stored
from auth_service.routes.login import begin_session
from auth_service.routes.state import ClientAddress, OpenState, State

log: Final = logging.getLogger(__name__)
router: Final = APIRouter(prefix="/auth/openid", dependencies=[Depends(not_stored)])
# Behind # the page reads it and no server does. The codes are in docs/protocol.md.
_FAILED: Final = "/#login-error="


@router.get("/login", status_code=303, response_class=RedirectResponse)
async def begin(state: OpenState) -> Response:
    flow = Flow.begin()
    try:
        response = _to(await _configured(state).begin(flow))
    except ProviderUnavailable as exc:
        return _failed(exc)
    state["cookies"].openid.set(response, flow.secret)
    return response


@router.get("/callback", status_code=303, response_class=RedirectResponse)
async def finish(request: Request, address: ClientAddress, state: OpenState) -> Response:
    openid, cookie = _configured(state), state["cookies"].openid
    secret, given = cookie.read(request), request.query_params
    try:
        account = await openid.finish(Flow(secret) if secret else None, given.get("state"), given.get("code"), address)
        response = _to("/")
        await begin_session(account, request, response, address, state)
    except InvalidCredentials:
        response = _failed(OpenidRefused("openid_no_account", "the account was changed at this moment"))
    except (OpenidRefused, ProviderUnavailable) as exc:
        response = _failed(exc)
    except StoreUnavailable as exc:
        log.error("database unavailable", extra={"reason": exc.reason})  # noqa: TRY400
        response = _to(_FAILED + ProviderUnavailable.code)
    # One try for each flow.
    cookie.clear(response)
    return response


def _configured(state: State) -> OpenidLogins:
    if state["openid"] is None:
        raise NotFound("way to log in")
    return state["openid"]


def _failed(error: AuthError) -> Response:
    reason = error.reason if isinstance(error, ProviderUnavailable) else str(error)
    log.warning("openid login refused", extra={"code": error.code, "reason": reason})
    return _to(_FAILED + error.code)


def _to(url: str) -> Response:
    return RedirectResponse(url, 303, {"Cache-Control": "no-store"})
