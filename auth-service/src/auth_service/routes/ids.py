import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends, Path

from auth_service.errors import NotFound

_PATTERN: Final = re.compile(r"[a-z]{1,16}_[0-9a-f]{32}", re.ASCII)


def is_well_formed(text: str) -> bool:
    return _PATTERN.fullmatch(text) is not None


def _id_parameter(what: str) -> Callable[[str], Awaitable[str]]:
    """Returns a dependency that answers a malformed id like an unknown one: with the same status and body."""

    async def read(text: Annotated[str, Path(alias="id")]) -> str:
        if not is_well_formed(text):
            raise NotFound(what)
        return text

    return read


UserId = Annotated[str, Depends(_id_parameter("user"))]
SessionId = Annotated[str, Depends(_id_parameter("session"))]
KeyId = Annotated[str, Depends(_id_parameter("key"))]
InviteId = Annotated[str, Depends(_id_parameter("invite"))]
