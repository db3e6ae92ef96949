"""Opaque tokens of 256 random bits and their records. Only the digests of tokens are stored.

The digest also identifies a token to the gateway: it is the `credential` of the records below, of introspection and of
announced revocations. A digest does not authenticate anybody.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# The prefixes make kinds unambiguous (a bare random token could begin with "pk_") and leaks detectable by scanners.
_TOKEN_PATTERN: Final = re.compile(r"(ps|pk|ek|pi|pr|pb)_[A-Za-z0-9_-]{43}", re.ASCII)
# The part of an API key that lists may show: enough to distinguish a user's keys, too short to help guessing.
_DISPLAY_PREFIX_LENGTH: Final = 9


class TokenKind(StrEnum):
    SESSION = "ps_"
    API_KEY = "pk_"
    TICKET = "ek_"
    INVITE = "pi_"
    RESET = "pr_"
    DEVICE = "pb_"


class Scope(StrEnum):
    CHAT = "chat"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class SessionLifetime:
    idle_seconds: int
    absolute_seconds: int


@dataclass(frozen=True, slots=True)
class Session:
    """Times are Unix seconds; `expires_at` is the absolute end."""

    id: str
    account_id: str
    created_at: int
    last_used_at: int
    expires_at: int
    device: str = ""
    credential: str = ""

    def ends_at(self, lifetime: SessionLifetime) -> int:
        return min(self.expires_at, self.last_used_at + lifetime.idle_seconds)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Times are Unix seconds; a key without `expires_at` is valid until it is deleted."""

    id: str
    account_id: str
    name: str
    scope: Scope
    created_at: int
    last_used_at: int | None = None
    expires_at: int | None = None
    prefix: str = ""
    credential: str = ""

    def is_expired(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True)
class Ticket:
    """Can be exchanged for `credential` once, until `expires_at`."""

    account_id: str
    credential: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time link: an invite, or a password reset for `account_id`."""

    id: str
    kind: TokenKind
    account_id: str | None
    created_by: str | None
    created_at: int
    expires_at: int


def new_token(kind: TokenKind) -> str:
    return kind + secrets.token_urlsafe(32)


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"


def new_credential() -> str:
    """Returns a random value in the format of a digest: see Account.password_credential."""
    return secrets.token_hex(32)


def token_kind(token: str) -> TokenKind | None:
    return TokenKind(token[:3]) if _TOKEN_PATTERN.fullmatch(token) else None


def display_prefix(token: str) -> str:
    return token[:_DISPLAY_PREFIX_LENGTH]


def digest(token: str) -> str:
    """Returns the SHA-256 in hex. No salt and no slow hash: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def equal_in_constant_time(expected: str, given: str) -> bool:
    """The time does not depend on the contents or on the lengths."""
    return hmac.compare_digest(
        hashlib.sha256(expected.encode()).digest(), hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
    )
