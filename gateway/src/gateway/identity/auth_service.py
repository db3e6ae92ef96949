"""The client of the auth-service's internal API."""

import httpx2
import msgspec

from gateway.errors import TooManyRequests, Unavailable
from gateway.identity.introspection import Credential, User, decode_user


class _Deletion(msgspec.Struct):
    sub: str


class _Deletions(msgspec.Struct):
    data: list[_Deletion]


_decode_deletions = msgspec.json.Decoder(_Deletions).decode


class AuthService:
    def __init__(self, client: httpx2.AsyncClient) -> None:
        """`client` has the auth-service's URL, the gateway's own credential, and a timeout."""
        self._client = client

    async def introspect(self, credential: Credential) -> User:
        """Raises Unauthenticated, TooManyRequests, or Unavailable when the auth-service gives no valid response."""
        try:
            response = await self._client.post("/introspect", data=credential.form())
            if response.status_code == 429:
                raise TooManyRequests("too many log-in attempts; wait a moment")
            if response.status_code != 200:
                raise Unavailable("auth-service")
            return decode_user(response.content)
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeEncodeError, msgspec.DecodeError) as exc:
            raise Unavailable("auth-service") from exc

    async def deletions(self) -> list[str]:
        """The ids of deleted users whose data is not erased yet. Raises Unavailable."""
        response = await self._request("GET", "/deletions")
        return [deletion.sub for deletion in _decode_deletions(response.content).data]

    async def erased(self, user_id: str) -> None:
        """Confirms that nothing of a deleted user is left. Raises Unavailable."""
        await self._request("DELETE", f"/deletions/{user_id}")

    async def ping(self) -> None:
        """Raises Unavailable."""
        if (await self._request("GET", "/readyz")).status_code != 200:
            raise Unavailable("auth-service")

    async def _request(self, method: str, path: str) -> httpx2.Response:
        try:
            response = await self._client.request(method, path)
        except httpx2.HTTPError as exc:
            raise Unavailable("auth-service") from exc
        if response.status_code >= 300:
            raise Unavailable("auth-service")
        return response
