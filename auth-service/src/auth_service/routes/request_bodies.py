import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, ClassVar, Final, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

_PASSWORD: Final = {"format": "password", "maxLength": 128}

# Constraints for the OpenAPI document only: the use cases check them and raise more specific errors.
Name = Annotated[str, Field(json_schema_extra={"pattern": "^[A-Za-z0-9._-]{1,64}$"})]
Password = Annotated[str, Field(json_schema_extra=_PASSWORD)]
NewPassword = Annotated[str, Field(json_schema_extra=_PASSWORD | {"minLength": 8})]


class StrictModel(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, frozen=True)


class StrictJsonRoute(APIRoute):
    """Rejects what Python's parser accepts although it is invalid or ambiguous JSON: NaN, duplicate keys."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(_StrictJsonRequest(request.scope, request.receive))

        return strict


class _StrictJsonRequest(Request):
    async def json(self) -> Any:
        try:
            value = json.loads(
                (await self.body()).decode(), object_pairs_hook=_unique_keys, parse_constant=_reject_constant
            )
            # JSON can escape a lone surrogate; a string that contains one cannot be encoded, stored or hashed.
            json.dumps(value, ensure_ascii=False).encode()
        except RecursionError:
            raise _invalid_json("it is nested too deeply") from None
        except UnicodeDecodeError:
            raise _invalid_json("it is not encoded in UTF-8") from None
        except UnicodeEncodeError:
            raise _invalid_json("it contains a lone surrogate") from None
        return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _invalid_json("an object contains a duplicate key")
    return fields


def _reject_constant(name: str) -> NoReturn:
    raise _invalid_json(f"{name} is not a JSON value")


def _invalid_json(reason: str) -> json.JSONDecodeError:
    return json.JSONDecodeError(reason, "", 0)
