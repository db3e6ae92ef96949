from dataclasses import dataclass
from typing import Final, Literal

from fastapi import Request, Response

_FLOW_SECONDS: Final = 600


def is_over_tls(request: Request) -> bool:
    """nginx sets the scheme of a request, as a trusted proxy reports it."""
    return request.url.scheme == "https"


@dataclass(frozen=True, slots=True)
class Cookie:
    """Over TLS, and always with `secure`, it has the attribute Secure, and its name is prefixed with __Host-: browsers
    accept it only over TLS, for this host and the path /.

    https://www.rfc-editor.org/rfc/rfc6265bis#name-the-__host-prefix
    """

    plain_name: str
    secure: bool
    max_age_seconds: int
    same_site: Literal["strict", "lax"]

    def read(self, request: Request) -> str | None:
        return request.cookies.get(self._name(request))

    def set(self, request: Request, response: Response, token: str) -> None:
        response.set_cookie(
            self._name(request),
            token,
            max_age=self.max_age_seconds,
            path="/",
            secure=self._is_secure(request),
            httponly=True,
            samesite=self.same_site,
        )

    def clear(self, request: Request, response: Response) -> None:
        secure = self._is_secure(request)
        response.delete_cookie(self._name(request), path="/", secure=secure, httponly=True, samesite=self.same_site)

    def _is_secure(self, request: Request) -> bool:
        return self.secure or is_over_tls(request)

    def _name(self, request: Request) -> str:
        return f"__Host-{self.plain_name}" if self._is_secure(request) else self.plain_name


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
