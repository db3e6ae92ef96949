import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from auth_service.errors import UnsuitableEmail, UnsuitableName

_NAME: Final = re.compile(r"[a-z0-9._-]{1,64}", re.ASCII)
# One @ between two parts of printable characters. Whether the address exists is for the OpenID provider to verify.
_EMAIL: Final = re.compile(r"[!-?A-~]{1,64}@[!-?A-~]{1,189}", re.ASCII)


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """Stored and reported to the gateway, which does not enforce them yet. None is the deployment's default."""

    messages_per_minute: int | None = None
    concurrent_answers: int | None = None
    tokens_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """`id` is user_<hex>, `password_hash` a PHC string with its parameters, `created_at` Unix seconds.

    An account without a password has an empty hash. `password_credential` identifies clients that authenticated with
    the password: 64 random hexadecimal digits, replaced with every new password.
    """

    id: str
    name: str
    password_hash: str
    role: Role
    disabled: bool
    created_at: int
    password_credential: str | None = None
    email: str | None = None
    limits: UsageLimits = field(default_factory=UsageLimits)


def canonicalize_name(text: str) -> str:
    """Returns the form in which names are stored and compared. Raises UnsuitableName.

    ASCII is checked before lower-casing: the Kelvin sign folds to "k", so the reverse order would accept a look-alike.
    """
    name = text.lower() if text.isascii() else ""
    if not _NAME.fullmatch(name):
        raise UnsuitableName
    return name


def canonicalize_email(text: str) -> str:
    """Returns the form in which addresses are stored and compared. Raises UnsuitableEmail.

    Only ASCII, as for names: mi\u212ae@example.org folds to mike@example.org and stra\u00dfe.de to strasse.de, so the
    owner of one address at a provider would get the account of the other.
    """
    email = text.lower() if text.isascii() else ""
    if not _EMAIL.fullmatch(email):
        raise UnsuitableEmail
    return email
