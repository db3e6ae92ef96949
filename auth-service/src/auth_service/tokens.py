"""Opaque credentials of 256 random bits, and what is known of them. Only their digests are stored.

A digest is also the name by which everybody else speaks of a credential: `credential` below, in introspection and in
announced revocations. It opens nothing.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# The prefixes keep them apart (a bare random token could begin with "pk_") and let scanners find leaks.
_WELL_FORMED: Final = re.compile(r"(ps|pk|ek|pi|pr|pb)_[A-Za-z0-9_-]{43}", re.ASCII)
# As much of an API key as may be shown again: enough to tell one's keys apart, too little to shorten a search.
_SHOWN_CHARACTERS: Final = 9


class Kind(StrEnum):
    SESSION = "ps_"
    API_KEY = "pk_"
    TICKET = "ek_"
    INVITE = "pi_"
    RESET = "pr_"
    BROWSER = "pb_"


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
    device: str = ""
    credential: str = ""

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
    prefix: str = ""
    credential: str = ""

    def expired(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True)
class Ticket:
    """Stands for `credential`, once, until `expires_at`."""

    account_id: str
    credential: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Link:
    """What a one-time link is good for: an invite, or a new password for `account_id`."""

    id: str
    kind: Kind
    account_id: str | None
    created_by: str | None
    created_at: int
    expires_at: int


def new_token(kind: Kind) -> str:
    return kind + secrets.token_urlsafe(32)


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"


def new_credential() -> str:
    """In the shape of a digest, and the digest of nothing: see Account.password_credential."""
    return secrets.token_hex(32)


def kind_of(token: str) -> Kind | None:
    return Kind(token[:3]) if _WELL_FORMED.fullmatch(token) else None


def shown_of(token: str) -> str:
    return token[:_SHOWN_CHARACTERS]


def digest(token: str) -> str:
    """SHA-256 in hex. Unsalted and fast is right here: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def same(ours: str, theirs: str) -> bool:
    """Takes as long for a near miss as for a far one, whatever the lengths."""
    return hmac.compare_digest(
        hashlib.sha256(ours.encode()).digest(), hashlib.sha256(theirs.encode("utf-8", "surrogateescape")).digest()
    )
