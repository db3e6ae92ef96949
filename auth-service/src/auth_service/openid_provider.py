"""The client of the configured OpenID provider.

https://openid.net/specs/openid-connect-core-1_0.html, only the authorization code flow with PKCE.
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
_METADATA_TTL_SECONDS: Final = 3600.0
_CLOCK_SKEW_SECONDS: Final = 60
_SCOPE: Final = "openid profile email"
# Only signatures with the provider's private key: not `none`, and not HS256, whose key is the client secret.
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
class Claims:
    """The claims of a verified ID token; `email` is None unless the provider has verified it."""

    issuer: str
    subject: str
    email: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class ClientRegistration:
    """Parley's registration as a client of the provider."""

    issuer: str
    client_id: str
    client_secret: str
    redirect_uri: str


class Provider(Protocol):
    async def authorization_url(self, flow: Flow) -> str: ...
    async def fetch_claims(self, code: str, flow: Flow) -> Claims: ...


class OpenidProvider:
    """Loads the provider's metadata on first use, so that Parley starts without the provider."""

    def __init__(self, registration: ClientRegistration, clock: Callable[[], float] = time.monotonic) -> None:
        self._registration = registration
        self._clock = clock
        self._metadata: Mapping[str, Any] = {}
        self._metadata_until = 0.0
        self._keys: KeySet | None = None

    async def authorization_url(self, flow: Flow) -> str:
        """Raises ProviderUnavailable."""
        metadata = await self._load_metadata()
        async with self._client() as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=flow.state,
                nonce=flow.nonce,
                code_verifier=flow.code_verifier,
            )
        return str(url)

    async def fetch_claims(self, code: str, flow: Flow) -> Claims:
        """Raises OpenidRefused, ProviderUnavailable."""
        metadata = await self._load_metadata()
        try:
            async with self._client() as client:
                tokens = await client.fetch_token(
                    metadata["token_endpoint"], code=code, code_verifier=flow.code_verifier
                )
                claims = await self._verify_id_token(tokens, flow)
                if "userinfo_endpoint" in metadata and not {"email", "preferred_username"} <= claims.keys():
                    claims = await _merge_userinfo(client, metadata["userinfo_endpoint"], claims)
        except httpx2.HTTPError as exc:
            raise ProviderUnavailable(type(exc).__name__) from exc
        except (AuthlibBaseError, JoseError, ValueError, KeyError, TypeError) as exc:
            # The code, the verifier or the ID token is invalid. Never the exception's text: it may contain a token.
            raise OpenidRefused("openid_refused", f"the provider's response is invalid: {type(exc).__name__}") from exc
        return _parse_claims(self._registration.issuer, claims)

    async def _verify_id_token(self, tokens: Mapping[str, Any], flow: Flow) -> dict[str, Any]:
        text = tokens["id_token"]
        registry = JWSRegistry(algorithms=list(_ALGORITHMS), strict_check_header=False)
        try:
            token = jwt.decode(text, await self._load_key_set(), registry=registry)
        except InvalidKeyIdError:
            # The provider may have rotated its keys.
            self._keys = None
            token = jwt.decode(text, await self._load_key_set(), registry=registry)
        required = {
            "iss": {"essential": True, "value": self._metadata["issuer"]},
            "aud": {"essential": True, "value": self._registration.client_id},
        }
        expected = {
            "nonce": flow.nonce,
            "client_id": self._registration.client_id,
            "access_token": tokens["access_token"],
        }
        claims = CodeIDToken(token.claims, token.header, required, expected)
        claims.validate(leeway=_CLOCK_SKEW_SECONDS)
        return dict(claims)

    async def _load_metadata(self) -> Mapping[str, Any]:
        if self._clock() >= self._metadata_until:
            issuer = self._registration.issuer
            metadata = await self._fetch_json(issuer.rstrip("/") + "/.well-known/openid-configuration")
            # OpenID Connect Discovery, 4.3: otherwise one issuer could impersonate another.
            if str(metadata.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
                raise ProviderUnavailable("its metadata names another issuer")
            if not {"authorization_endpoint", "token_endpoint", "jwks_uri"} <= metadata.keys():
                raise ProviderUnavailable("its metadata is incomplete")
            self._metadata, self._metadata_until = metadata, self._clock() + _METADATA_TTL_SECONDS
            # Reload the keys as well: a revoked key must not be accepted for longer than the metadata.
            self._keys = None
        return self._metadata

    async def _load_key_set(self) -> KeySet:
        if self._keys is None:
            self._keys = KeySet.import_key_set(await self._fetch_json(self._metadata["jwks_uri"]))  # type: ignore[arg-type]
        return self._keys

    async def _fetch_json(self, url: str) -> dict[str, Any]:
        try:
            async with httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS) as client:
                response = await client.get(url)
                body = response.raise_for_status().json()
        except (httpx2.HTTPError, ValueError) as exc:
            raise ProviderUnavailable(type(exc).__name__) from exc
        if not isinstance(body, dict):
            raise ProviderUnavailable("its response is not a JSON object")
        return body

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


async def _merge_userinfo(client: AsyncOAuth2Client, endpoint: str, claims: dict[str, Any]) -> dict[str, Any]:
    userinfo = (await client.get(endpoint)).raise_for_status().json()
    # OpenID Connect Core, 5.3.2: userinfo about another subject must not be used.
    if userinfo["sub"] != claims["sub"]:
        raise ValueError("userinfo about another subject")
    return {**userinfo, **claims}


def _parse_claims(issuer: str, claims: Mapping[str, Any]) -> Claims:
    subject, email, name = claims["sub"], claims.get("email"), claims.get("preferred_username")
    # OpenID Connect Core, 2: at most 255 ASCII characters.
    if not (isinstance(subject, str) and 1 <= len(subject) <= 255 and subject.isascii() and subject.isprintable()):
        raise OpenidRefused("openid_refused", "the provider's subject is not 1 to 255 printable ASCII characters")
    verified = claims.get("email_verified") is True and isinstance(email, str)
    return Claims(issuer, subject, email if verified else None, name if isinstance(name, str) else None)
