"""Token introspection (RFC 7662): the credential in the request, the user in the response."""

import hashlib
from dataclasses import dataclass, field

import msgspec

from gateway.errors import Unauthenticated, Unavailable

_TICKET_PREFIX = "ek_"
_SCOPE = "chat"


@dataclass(frozen=True, slots=True)
class Credential:
    """A session token, an API key or a ticket; with `username`, the secret of the plain-text protocol.

    `address` is the client's, so that a client that guesses secrets is throttled alone. `reference` identifies a
    credential that was introspected before, without its `token`. `is_background`: not on behalf of a request.
    """

    token: str
    username: str | None = None
    address: str = field(default="", compare=False)
    reference: str = ""
    is_background: bool = False

    def digest(self) -> bytes:
        text = f"{self.username!r}:{self.reference}:{self.is_background}:{self.token}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    @property
    def is_single_use(self) -> bool:
        """A ticket: a second presentation is a theft."""
        return self.username is None and self.token.startswith(_TICKET_PREFIX)

    def form(self) -> dict[str, str]:
        """The body of the introspection request."""
        form = {"credential": self.reference} if self.reference else {"token": self.token}
        if self.is_background:
            form |= {"recheck": "1"}  # does not count as use: an idle page must not keep its session alive
        if self.username is not None:
            form |= {"username": self.username, "client_address": self.address}
        return form


@dataclass(frozen=True, slots=True)
class User:
    """`credential` identifies the presented credential, but cannot be used in its place."""

    id: str
    name: str
    credential: str = ""


class _Introspection(msgspec.Struct):
    active: bool
    sub: str = ""
    username: str = ""
    scope: str = ""
    credential: str = ""


_decode = msgspec.json.Decoder(_Introspection).decode


def decode_user(body: bytes) -> User:
    """Raises Unauthenticated, Unavailable for an incomplete response, and msgspec.DecodeError."""
    found = _decode(body)
    if not found.active or _SCOPE not in found.scope.split():
        raise Unauthenticated
    if not found.sub or not found.username:
        raise Unavailable("auth-service")  # users without an id would share one history
    return User(found.sub, found.username, found.credential)
