"""One log-in at a provider, from its beginning to the way back."""

import base64
import hashlib
import secrets
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flow:
    """Everything follows from one secret that only the browser keeps, in a cookie for ten minutes: any replica can
    finish what another began, and nothing is stored. From what travels through URLs the secret does not follow.

    `state` shows that the answer belongs to a log-in this browser began (RFC 6749, 10.12), `nonce` that the ID token
    does (OpenID Connect Core, 3.1.2.1), and `code_verifier` that whoever redeems the code began it (RFC 7636).
    """

    secret: str

    @classmethod
    def begin(cls) -> "Flow":
        return cls(secrets.token_urlsafe(32))

    @property
    def state(self) -> str:
        return self._derived("state")

    @property
    def nonce(self) -> str:
        return self._derived("nonce")

    @property
    def code_verifier(self) -> str:
        return self._derived("code verifier")

    def _derived(self, purpose: str) -> str:
        digest = hashlib.sha256(f"{purpose}:{self.secret}".encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
