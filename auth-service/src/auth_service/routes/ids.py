import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends, Path

from auth_service.errors import NotFound

_SHAPE: Final = re.compile(r"[a-z]{1,16}_[0-9a-f]{32}", re.ASCII)


def well_formed(text: str) -> bool:
    return _SHAPE.fullmatch(text) is not None


def _id_of(what: str) -> Callable[[str], Awaitable[str]]:
    """What cannot be an id is not there, like an id that is nobody's: same status, same body."""

    async def read(found: Annotated[str, Path(alias="id")]) -> str:
        if not well_formed(found):
            raise NotFound(what)
        return found

    return read


UserId = Annotated[str, Depends(_id_of("user"))]
SessionId = Annotated[str, Depends(_id_of("session"))]
KeyId = Annotated[str, Depends(_id_of("key"))]
InviteId = Annotated[str, Depends(_id_of("invite"))]
