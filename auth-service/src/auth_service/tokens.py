"""Opaque credentials of 256 random bits, and what is known of them. Only their digests are stored."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# The prefixes keep the two apart (a bare random token could begin with "pk_") and let scanners find leaks.
SESSION_PREFIX: Final = "ps_"
API_KEY_PREFIX: Final = "pk_"
_WELL_FORMED: Final = re.compile(r"(ps|pk)_[A-Za-z0-9_-]{43}", re.ASCII)


class Scope(StrEnum):
    CHAT = "chat"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Lifetime:
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

    def ends_at(self, lifetime: Lifetime) -> int:
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

    def expired(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now


def new_session_token() -> str:
    return SESSION_PREFIX + secrets.token_urlsafe(32)


def new_api_key() -> str:
    return API_KEY_PREFIX + secrets.token_urlsafe(32)


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"


def is_session_token(token: str) -> bool:
    return token.startswith(SESSION_PREFIX) and _WELL_FORMED.fullmatch(token) is not None


def is_api_key(token: str) -> bool:
    return token.startswith(API_KEY_PREFIX) and _WELL_FORMED.fullmatch(token) is not None


def digest(token: str) -> str:
    """SHA-256 in hex. Unsalted and fast is right here: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def same(ours: str, theirs: str) -> bool:
    """Takes as long for a near miss as for a far one, whatever the lengths."""
    return hmac.compare_digest(
        hashlib.sha256(ours.encode()).digest(), hashlib.sha256(theirs.encode("utf-8", "surrogateescape")).digest()
    )
