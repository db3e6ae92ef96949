"""The cookie of a browser in which somebody has logged in before."""

from typing import Annotated

from fastapi import Depends, Request, Response

from auth_service.accounts import Account
from auth_service.routes.state import OpenState, State


async def token(request: Request, state: OpenState) -> str | None:
    return state["cookies"].browser.read(request)


Browser = Annotated[str | None, Depends(token)]


async def remember(account: Account, browser: str | None, response: Response, state: State) -> None:
    """Where a password was right, guesses at it are not in line with everybody's."""
    kept = await state["browsers"].remember(account, browser)
    if kept is not None:
        state["cookies"].browser.set(response, kept)
