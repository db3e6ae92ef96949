"""The device cookie of the requesting browser: see auth_service.device_cookies."""

from typing import Annotated

from fastapi import Depends, Request, Response

from auth_service.accounts import Account
from auth_service.routes.state import OpenState, State


async def read_device_cookie(request: Request, state: OpenState) -> str | None:
    return state["cookies"].device.read(request)


DeviceCookie = Annotated[str | None, Depends(read_device_cookie)]


async def set_device_cookie(
    account: Account, device_cookie: str | None, request: Request, response: Response, state: State
) -> None:
    """Called after the password was verified; `device_cookie` is the one the browser sent."""
    token = await state["device_cookies"].renew_or_issue(account, device_cookie)
    if token is not None:
        state["cookies"].device.set(request, response, token)
