"""The query of an address: what it does not know, it refuses. A misspelt `limit` would be another list, silently."""

from typing import Annotated

from fastapi import Depends, Request

from gateway.errors import InvalidRequest, UnsupportedParameter
from gateway.identity.introspection import User
from gateway.routes.credentials import current_user

# OpenAI's own that ask for what Parley does not have, as its SDKs write them.
_UNSUPPORTED = {"include": "include", "include[]": "include", "include_obfuscation": "include_obfuscation"}
_NAME_AT_MOST = 100


async def only_known(request: Request, _: Annotated[User, Depends(current_user)]) -> None:
    """A dependency of routers. Raises UnsupportedParameter or InvalidRequest, to those who may ask at all."""
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name in _UNSUPPORTED:
            raise UnsupportedParameter(_UNSUPPORTED[name])
        if name not in known:
            short = name[:_NAME_AT_MOST]
            raise InvalidRequest(f"unknown query parameter {short!r}", param=short, code="unknown_parameter")
