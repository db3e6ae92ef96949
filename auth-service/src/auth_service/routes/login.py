from fastapi import APIRouter, Depends, Request, Response

from auth_service.accounts import Account, Role
from auth_service.errors import NotLoggedIn
from auth_service.routes.answers import not_stored
from auth_service.routes.bodies import StrictJsonRoute, StrictModel
from auth_service.routes.cookies import SessionCookie
from auth_service.routes.origin import same_origin
from auth_service.routes.state import ClientAddress, OpenState


class Credentials(StrictModel):
    username: str
    password: str


class Me(StrictModel):
    id: str
    username: str
    role: Role

    @classmethod
    def of(cls, account: Account) -> "Me":
        return cls(id=account.id, username=account.name, role=account.role)


def login_routes(cookie: SessionCookie, allowed_origins: tuple[str, ...]) -> APIRouter:
    router = APIRouter(prefix="/auth", route_class=StrictJsonRoute, dependencies=[Depends(not_stored)])
    changes = [Depends(same_origin(allowed_origins))]

    @router.post("/login", dependencies=changes)
    async def login(
        credentials: Credentials, request: Request, response: Response, address: ClientAddress, state: OpenState
    ) -> Me:
        account = await state["logins"].verify(credentials.username, credentials.password, address)
        # A log-in never continues the session the browser had, be it the user's or one planted on them.
        await state["sessions"].close(cookie.read(request))
        cookie.set(response, await state["sessions"].open(account))
        return Me.of(account)

    @router.post("/logout", status_code=204, dependencies=changes)
    async def logout(request: Request, response: Response, state: OpenState) -> None:
        await state["sessions"].close(cookie.read(request))
        cookie.clear(response)

    @router.get("/me")
    async def me(request: Request, state: OpenState) -> Me:
        current = await state["sessions"].of_token(cookie.read(request))
        if current is None:
            raise NotLoggedIn
        return Me.of(current.account)

    return router
