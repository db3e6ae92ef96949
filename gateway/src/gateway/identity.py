"""Who a credential belongs to: the auth-service's answer to RFC 7662 introspection, kept for a few seconds."""

import asyncio
import hashlib
import time
from dataclasses import dataclass, field

import httpx2
import msgspec

from gateway.errors import TooManyRequests, Unauthenticated, Unavailable

# A revoked credential may live on this long; a busy user costs one introspection per this time.
CACHED_SECONDS = 5.0
_CACHED_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Credential:
    """A session token or an API key; with `username`, the secret of the plain-text protocol. There `address` is the
    client's, so that guessing is slowed for it and not for everybody."""

    token: str
    username: str | None = None
    address: str = field(default="", compare=False)

    def digest(self) -> bytes:
        return hashlib.sha256(f"{self.username!r}:{self.token}".encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class User:
    id: str
    name: str


class _Introspection(msgspec.Struct):
    active: bool
    sub: str = ""
    username: str = ""
    scope: str = ""


_decode = msgspec.json.Decoder(_Introspection).decode


class Identity:
    def __init__(self, client: httpx2.AsyncClient) -> None:
        """`client` carries the auth-service's URL, the gateway's own credential, and a timeout."""
        self._client = client
        self._known: dict[bytes, tuple[float, User]] = {}
        self._asking: dict[bytes, asyncio.Task[User]] = {}

    async def user(self, credential: Credential) -> User:
        """Raises Unauthenticated, TooManyRequests, or Unavailable when nobody can tell: it fails closed.

        Only positive answers are kept, so that a key made a moment ago works. Many who ask at once (a page with twenty
        tabs that comes back) are one question.
        """
        digest = credential.digest()
        expires, user = self._known.get(digest, (0.0, None))
        if user is not None and time.monotonic() < expires:
            return user
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.create_task(self._ask(digest, credential))
            asking.add_done_callback(_retrieved)
        return await asyncio.shield(asking)

    async def ping(self) -> None:
        """Raises Unavailable."""
        try:
            answer = await self._client.get("/readyz")
        except httpx2.HTTPError as exc:
            raise Unavailable("auth-service") from exc
        if answer.status_code != 200:
            raise Unavailable("auth-service")

    async def _ask(self, digest: bytes, credential: Credential) -> User:
        self._known.pop(digest, None)
        try:
            user = await self._introspect(credential)
        finally:
            del self._asking[digest]
        if len(self._known) >= _CACHED_AT_MOST:
            self._known.clear()
        self._known[digest] = (time.monotonic() + CACHED_SECONDS, user)
        return user

    async def _introspect(self, credential: Credential) -> User:
        form = {"token": credential.token}
        if credential.username is not None:
            form |= {"username": credential.username, "client_address": credential.address}
        try:
            answer = await self._client.post("/introspect", data=form)
            if answer.status_code == 429:
                raise TooManyRequests("too many log-in attempts; wait a moment")
            if answer.status_code != 200:
                raise Unavailable("auth-service")
            found = _decode(answer.content)
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeEncodeError, msgspec.DecodeError) as exc:
            raise Unavailable("auth-service") from exc
        if not found.active or "chat" not in found.scope.split():
            raise Unauthenticated
        if not found.sub or not found.username:
            raise Unavailable("auth-service")  # all who are nobody would share one history
        return User(found.sub, found.username)


def _retrieved(asking: asyncio.Task[User]) -> None:
    """Whoever asked may be gone by now; a failure nobody waits for is not worth a warning."""
    if not asking.cancelled():
        asking.exception()
