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
_TICKET_PREFIX = "ek_"
# When Redis comes back every open socket asks again; requests must not wait behind them.
_UNASKED_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Credential:
    """A session token, an API key or a ticket; with `username`, the secret of the plain-text protocol. There `address`
    is the client's, so that guessing is slowed for it and not for everybody. `known` alone asks again about what was
    presented before, by the name that introspection gave it; with `unasked` although nobody has asked for anything."""

    token: str
    username: str | None = None
    address: str = field(default="", compare=False)
    known: str = ""
    unasked: bool = False

    def digest(self) -> bytes:
        said = f"{self.username!r}:{self.known}:{self.unasked}:{self.token}"
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()

    @property
    def once(self) -> bool:
        """A ticket: who presents it again has taken it from somebody."""
        return self.username is None and self.token.startswith(_TICKET_PREFIX)


@dataclass(frozen=True, slots=True)
class User:
    """`credential` names what was presented, without being able to stand for it."""

    id: str
    name: str
    credential: str = ""


class _Introspection(msgspec.Struct):
    active: bool
    sub: str = ""
    username: str = ""
    scope: str = ""
    credential: str = ""


class _Deletion(msgspec.Struct):
    sub: str


class _Deletions(msgspec.Struct):
    data: list[_Deletion]


_decode = msgspec.json.Decoder(_Introspection).decode
_decode_deletions = msgspec.json.Decoder(_Deletions).decode


class Identity:
    def __init__(self, client: httpx2.AsyncClient) -> None:
        """`client` carries the auth-service's URL, the gateway's own credential, and a timeout."""
        self._client = client
        self._known: dict[bytes, tuple[float, User]] = {}
        self._asking: dict[bytes, asyncio.Task[User]] = {}
        self._unasked = asyncio.Semaphore(_UNASKED_AT_ONCE)

    async def user(self, credential: Credential) -> User:
        """Raises Unauthenticated, TooManyRequests, or Unavailable when nobody can tell: it fails closed.

        Only positive answers are kept, so that a key made a moment ago works. Many who ask at once (a page with twenty
        tabs that comes back) are one question, but with a ticket: of eight who present it, one has it.
        """
        if credential.once:
            return await self._introspect(credential)
        expires, user = self._known.get(credential.digest(), (0.0, None))
        if user is not None and time.monotonic() < expires:
            return user
        return await self._joined(credential)

    async def again(self, user: User) -> User:
        """Whether what was presented still counts: an open socket outlives a log-out. Raises as `user` does."""
        return await self.user(Credential("", known=user.credential))

    async def recheck(self, user: User) -> None:
        """The same although nobody has asked for anything: it asks whatever is known here, and a few at a time."""
        try:
            await self._joined(Credential("", known=user.credential, unasked=True))
        except Unauthenticated:
            self.forget(user.id)
            raise

    def forget(self, user_id: str) -> None:
        """Something of this user's was withdrawn: the next request asks. What is being asked right now may have been
        answered before that; whose it is will be known too late, so nobody joins it any more and nothing keeps it."""
        self._known = {digest: known for digest, known in self._known.items() if known[1].id != user_id}
        self._asking.clear()

    async def deletions(self) -> list[str]:
        """Ids of deleted users whose conversations are still to go. Raises Unavailable."""
        return [one.sub for one in _decode_deletions((await self._asked("GET", "/deletions")).content).data]

    async def erased(self, user_id: str) -> None:
        """Raises Unavailable."""
        await self._asked("DELETE", f"/deletions/{user_id}")

    async def _asked(self, method: str, path: str) -> httpx2.Response:
        try:
            answer = await self._client.request(method, path)
        except httpx2.HTTPError as exc:
            raise Unavailable("auth-service") from exc
        if answer.status_code >= 300:
            raise Unavailable("auth-service")
        return answer

    async def ping(self) -> None:
        """Raises Unavailable."""
        try:
            answer = await self._client.get("/readyz")
        except httpx2.HTTPError as exc:
            raise Unavailable("auth-service") from exc
        if answer.status_code != 200:
            raise Unavailable("auth-service")

    async def _joined(self, credential: Credential) -> User:
        digest = credential.digest()
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.create_task(self._ask(digest, credential))
            asking.add_done_callback(_retrieved)
        return await asyncio.shield(asking)

    async def _ask(self, digest: bytes, credential: Credential) -> User:
        self._known.pop(digest, None)
        try:
            if credential.unasked:
                async with self._unasked:
                    return await self._introspect(credential)
            user = await self._introspect(credential)
            if self._is_asked_here(digest):
                self._keep(digest, user)
            return user
        finally:
            if self._is_asked_here(digest):
                del self._asking[digest]

    def _is_asked_here(self, digest: bytes) -> bool:
        return self._asking.get(digest) is asyncio.current_task()

    def _keep(self, digest: bytes, user: User) -> None:
        if len(self._known) >= _CACHED_AT_MOST:
            self._known.clear()
        self._known[digest] = (time.monotonic() + CACHED_SECONDS, user)

    async def _introspect(self, credential: Credential) -> User:
        form = {"credential": credential.known} if credential.known else {"token": credential.token}
        if credential.unasked:
            form |= {"recheck": "1"}  # no use of the session: an open page alone must not keep it alive
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
        return User(found.sub, found.username, found.credential)


def _retrieved(asking: asyncio.Task[User]) -> None:
    """Whoever asked may be gone by now; a failure nobody waits for is not worth a warning."""
    if not asking.cancelled():
        asking.exception()
