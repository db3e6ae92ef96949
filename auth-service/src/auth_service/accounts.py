import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from auth_service.errors import UnsuitableEmail, UnsuitableName

_NAME: Final = re.compile(r"[a-z0-9._-]{1,64}", re.ASCII)
# One @ between two things that are printable and not blank; whether it is an address is the provider's word.
_EMAIL: Final = re.compile(r"[!-?A-~]{1,64}@[!-?A-~]{1,189}", re.ASCII)


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """What the gateway holds this user to; None is the deployment's default."""

    messages_per_minute: int | None = None
    concurrent_answers: int | None = None
    tokens_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """`id` is user_<hex>, `password_hash` a PHC string with its parameters, `created_at` Unix seconds.

    An account without a password has an empty hash. `password_credential` is what a client that came with the password
    is known by from then on: 64 random hexadecimal digits, new with each password.
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


def canonical_name(text: str) -> str:
    """The one spelling a name is stored and compared in. Raises UnsuitableName.

    ASCII is checked before folding: the Kelvin sign folds to "k", so folding first would let a look-alike in.
    """
    name = text.lower() if text.isascii() else ""
    if not _NAME.fullmatch(name):
        raise UnsuitableName
    return name


def canonical_email(text: str) -> str:
    """The one spelling an address is stored and compared in. Raises UnsuitableEmail.

    ASCII alone, as for names: folded, mi\u212ae@example.org is mike@example.org and stra\u00dfe.de strasse.de, and who
    has the one address at a provider would get the account of the other.
    """
    email = text.lower() if text.isascii() else ""
    if not _EMAIL.fullmatch(email):
        raise UnsuitableEmail
    return email
