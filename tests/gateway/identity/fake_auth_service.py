"""An auth-service without a process."""

from collections.abc import Callable, Coroutine
from urllib.parse import parse_qs

import httpx2

from gateway.identity.auth_service import AuthService

ACTIVE = {"active": True, "sub": "user_1", "username": "alice", "scope": "chat"}

Responder = (
    Callable[[httpx2.Request], httpx2.Response] | Callable[[httpx2.Request], Coroutine[None, None, httpx2.Response]]
)


def auth_service(respond: Responder) -> AuthService:
    return AuthService(httpx2.AsyncClient(base_url="http://auth", transport=httpx2.MockTransport(respond)))


class FakeAuthService:
    """Replies to every introspection with `status` and `body`, and records the `forms` it receives."""

    def __init__(self, body: dict[str, object], status: int = 200) -> None:
        self.body = body
        self.status = status
        self.forms: list[dict[str, list[str]]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.forms.append(parse_qs(request.content.decode()))
        return httpx2.Response(self.status, json=self.body)
