import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, ClassVar, Final, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

_PASSWORD: Final = {"format": "password", "maxLength": 128}

# What the OpenAPI document says of them. Whoever refuses one says why, so nothing is checked here.
Name = Annotated[str, Field(json_schema_extra={"pattern": "^[A-Za-z0-9._-]{1,64}$"})]
Password = Annotated[str, Field(json_schema_extra=_PASSWORD)]
NewPassword = Annotated[str, Field(json_schema_extra=_PASSWORD | {"minLength": 8})]


class StrictModel(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, frozen=True)


class StrictJsonRoute(APIRoute):
    """Refuses what Python's reader lets through although it is no JSON or means two things: NaN, a key twice."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(_StrictJsonRequest(request.scope, request.receive))

        return strict


class _StrictJsonRequest(Request):
    async def json(self) -> Any:
        try:
            value = json.loads((await self.body()).decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
            # JSON can escape half a surrogate pair; a text that holds one cannot be encoded, stored or hashed.
            json.dumps(value, ensure_ascii=False).encode()
        except RecursionError:
            raise _not_json("values are nested too deeply") from None
        except UnicodeDecodeError:
            raise _not_json("it is not in UTF-8") from None
        except UnicodeEncodeError:
            raise _not_json("it holds half a surrogate pair") from None
        return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _not_json("a key is given twice")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise _not_json(f"{name} is no value of it")


def _not_json(reason: str) -> json.JSONDecodeError:
    return json.JSONDecodeError(reason, "", 0)
