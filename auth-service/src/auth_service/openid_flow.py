"""The state of one log-in at an OpenID provider, from the redirect to the callback."""

import base64
import hashlib
import secrets
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flow:
    """All values are derived from one secret, which only the browser stores, in a cookie for ten minutes: any replica
    can handle the callback, and nothing is stored here. The secret cannot be derived from the values in URLs.

    `state` proves that the callback belongs to a log-in started in this browser (RFC 6749, 10.12), `nonce` that the ID
    token does (OpenID Connect Core, 3.1.2.1), `code_verifier` that the client redeeming the code started it (RFC 7636).
    """

    secret: str

    @classmethod
    def begin(cls) -> "Flow":
        return cls(secrets.token_urlsafe(32))

    @property
    def state(self) -> str:
        return self._derive("state")

    @property
    def nonce(self) -> str:
        return self._derive("nonce")

    @property
    def code_verifier(self) -> str:
        return self._derive("code verifier")

    def _derive(self, purpose: str) -> str:
        digest = hashlib.sha256(f"{purpose}:{self.secret}".encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
