from dataclasses import dataclass
from typing import Final, Literal

from fastapi import Request, Response

_FLOW_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Cookie:
    """With `secure`, the name is prefixed with __Host-: browsers accept it only over TLS, for this host and the path /.

    https://www.rfc-editor.org/rfc/rfc6265bis#name-the-__host-prefix
    """

    plain_name: str
    secure: bool
    max_age_seconds: int
    same_site: Literal["strict", "lax"]

    @property
    def name(self) -> str:
        return f"__Host-{self.plain_name}" if self.secure else self.plain_name

    def read(self, request: Request) -> str | None:
        return request.cookies.get(self.name)

    def set(self, response: Response, token: str) -> None:
        response.set_cookie(
            self.name,
            token,
            max_age=self.max_age_seconds,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite=self.same_site,
        )

    def clear(self, response: Response) -> None:
        response.delete_cookie(self.name, path="/", secure=self.secure, httponly=True, samesite=self.same_site)


@dataclass(frozen=True, slots=True)
class Cookies:
    session: Cookie
    # Lax: the provider's redirect is a cross-site navigation, with which browsers do not send Strict cookies.
    openid: Cookie
    # Kept at log-out; does not authenticate anybody. The cookie's name, parley_browser, predates the term.
    device: Cookie

    @classmethod
    def of(cls, *, secure: bool, session_seconds: int, device_seconds: int) -> "Cookies":
        return cls(
            session=Cookie("parley_session", secure, session_seconds, "strict"),
            openid=Cookie("parley_openid", secure, _FLOW_SECONDS, "lax"),
            device=Cookie("parley_browser", secure, device_seconds, "strict"),
        )
