"""The provider an operator has named: where it sends users, and who it says they are.

https://openid.net/specs/openid-connect-core-1_0.html with the code flow, PKCE and nothing else.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from auth_service.errors import OpenidRefused, ProviderUnavailable
from auth_service.openid_flow import Flow

_TIMEOUT_SECONDS: Final = 5.0
_METADATA_SECONDS: Final = 3600.0
_CLOCK_SKEW_SECONDS: Final = 60
_SCOPE: Final = "openid profile email"
# Signatures with a key that only the provider has: not none, and not HS256, whose key every client has.
_ALGORITHMS: Final = (
    "RS256",
    "PS256",
    "ES256",
    "EdDSA",
    "Ed25519",
    "RS384",
    "RS512",
    "PS384",
    "PS512",
    "ES384",
    "ES512",
)


@dataclass(frozen=True, slots=True)
class Person:
    """Who the provider says it was. `email` only if the provider has verified it."""

    issuer: str
    subject: str
    email: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Registration:
    """Of Parley at the provider."""

    issuer: str
    client_id: str
    client_secret: str
    redirect_uri: str


class Provider(Protocol):
    async def authorization_url(self, flow: Flow) -> str: ...
    async def person(self, code: str, flow: Flow) -> Person: ...


class OpenidProvider:
    """Asked for its metadata when it is first needed: Parley starts without it."""

    def __init__(self, registration: Registration, clock: Callable[[], float] = time.monotonic) -> None:
        self._registration = registration
        self._clock = clock
        self._metadata: Mapping[str, Any] = {}
        self._metadata_until = 0.0
        self._keys: KeySet | None = None

    async def authorization_url(self, flow: Flow) -> str:
        """Raises ProviderUnavailable."""
        metadata = await self._described()
        async with self._client() as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=flow.state,
                nonce=flow.nonce,
                code_verifier=flow.code_verifier,
            )
        return str(url)

    async def person(self, code: str, flow: Flow) -> Person:
        """Raises OpenidRefused, ProviderUnavailable."""
        metadata = await self._described()
        try:
            async with self._client() as client:
                tokens = await client.fetch_token(
                    metadata["token_endpoint"], code=code, code_verifier=flow.code_verifier
                )
                claims = await self._verified(tokens, flow)
                if "userinfo_endpoint" in metadata and not {"email", "preferred_username"} <= claims.keys():
                    claims = await _completed(client, metadata["userinfo_endpoint"], claims)
        except httpx2.HTTPError as exc:
            raise ProviderUnavailable(type(exc).__name__) from exc
        except (AuthlibBaseError, JoseError, ValueError, KeyError, TypeError) as exc:
            # The code, the verifier or the ID token is not what it should be. Never the text: it may hold a token.
            raise OpenidRefused("openid_refused", f"the provider's answer does not hold: {type(exc).__name__}") from exc
        return _person(self._registration.issuer, claims)

    async def _verified(self, tokens: Mapping[str, Any], flow: Flow) -> dict[str, Any]:
        text = tokens["id_token"]
        registry = JWSRegistry(algorithms=list(_ALGORITHMS), strict_check_header=False)
        try:
            token = jwt.decode(text, await self._key_set(), registry=registry)
        except InvalidKeyIdError:
            # The provider has new keys.
            self._keys = None
            token = jwt.decode(text, await self._key_set(), registry=registry)
        wanted = {
            "iss": {"essential": True, "value": self._metadata["issuer"]},
            "aud": {"essential": True, "value": self._registration.client_id},
        }
        known = {"nonce": flow.nonce, "client_id": self._registration.client_id, "access_token": tokens["access_token"]}
        claims = CodeIDToken(token.claims, token.header, wanted, known)
        claims.validate(leeway=_CLOCK_SKEW_SECONDS)
        return dict(claims)

    async def _described(self) -> Mapping[str, Any]:
        if self._clock() >= self._metadata_until:
            issuer = self._registration.issuer
            found = await self._got(issuer.rstrip("/") + "/.well-known/openid-configuration")
            # OpenID Connect Discovery, 4.3: another issuer's description would speak for whoever it likes.
            if str(found.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
                raise ProviderUnavailable("it describes another issuer")
            if not {"authorization_endpoint", "token_endpoint", "jwks_uri"} <= found.keys():
                raise ProviderUnavailable("its description is incomplete")
            self._metadata, self._metadata_until = found, self._clock() + _METADATA_SECONDS
            # A key that the provider has taken back signs nobody in for longer than this.
            self._keys = None
        return self._metadata

    async def _key_set(self) -> KeySet:
        if self._keys is None:
            self._keys = KeySet.import_key_set(await self._got(self._metadata["jwks_uri"]))  # type: ignore[arg-type]
        return self._keys

    async def _got(self, url: str) -> dict[str, Any]:
        try:
            async with httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS) as client:
                answer = await client.get(url)
                found = answer.raise_for_status().json()
        except (httpx2.HTTPError, ValueError) as exc:
            raise ProviderUnavailable(type(exc).__name__) from exc
        if not isinstance(found, dict):
            raise ProviderUnavailable("it does not answer with an object")
        return found

    def _client(self) -> AsyncOAuth2Client:
        registration = self._registration
        return AsyncOAuth2Client(
            registration.client_id,
            registration.client_secret or None,
            token_endpoint_auth_method="client_secret_basic" if registration.client_secret else "none",
            redirect_uri=registration.redirect_uri,
            scope=_SCOPE,
            code_challenge_method="S256",
            timeout=_TIMEOUT_SECONDS,
        )


async def _completed(client: AsyncOAuth2Client, endpoint: str, claims: dict[str, Any]) -> dict[str, Any]:
    more = (await client.get(endpoint)).raise_for_status().json()
    # OpenID Connect Core, 5.3.2: an answer about somebody else must not be used.
    if more["sub"] != claims["sub"]:
        raise ValueError("userinfo about another subject")
    return {**more, **claims}


def _person(issuer: str, claims: Mapping[str, Any]) -> Person:
    subject, email, name = claims["sub"], claims.get("email"), claims.get("preferred_username")
    # OpenID Connect Core, 2: at most 255 ASCII characters.
    if not (isinstance(subject, str) and 1 <= len(subject) <= 255 and subject.isascii() and subject.isprintable()):
        raise OpenidRefused("openid_refused", "the provider's subject is not one of 1 to 255 ASCII characters")
    verified = claims.get("email_verified") is True and isinstance(email, str)
    return Person(issuer, subject, email if verified else None, name if isinstance(name, str) else None)
