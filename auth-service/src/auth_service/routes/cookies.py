from dataclasses import dataclass

from fastapi import Request, Response


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """With `secure` the name carries __Host-, which a browser takes only over TLS, for this host and path / alone.

    https://www.rfc-editor.org/rfc/rfc6265bis#name-the-__host-prefix
    """

    secure: bool
    max_age_seconds: int

    @property
    def name(self) -> str:
        return "__Host-parley_session" if self.secure else "parley_session"

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
            samesite="strict",
        )

    def clear(self, response: Response) -> None:
        response.delete_cookie(self.name, path="/", secure=self.secure, httponly=True, samesite="strict")
