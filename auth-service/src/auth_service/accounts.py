import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from auth_service.errors import UnsuitableName

_NAME: Final = re.compile(r"[a-z0-9._-]{1,64}", re.ASCII)


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Account:
    """`id` is user_<hex>, `password_hash` a PHC string with its parameters, `created_at` Unix seconds."""

    id: str
    name: str
    password_hash: str
    role: Role
    disabled: bool
    created_at: int


def canonical_name(text: str) -> str:
    """The one spelling a name is stored and compared in. Raises UnsuitableName.

    ASCII is checked before folding: the Kelvin sign folds to "k", so folding first would let a look-alike in.
    """
    name = text.lower() if text.isascii() else ""
    if not _NAME.fullmatch(name):
        raise UnsuitableName
    return name
