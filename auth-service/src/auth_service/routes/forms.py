from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from auth_service.errors import InvalidField, InvalidForm
from auth_service.routes.bodies import StrictModel

Model = TypeVar("Model", bound=StrictModel)

_TYPE: Final = "application/x-www-form-urlencoded"


def form_of(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """A dependency. Raises InvalidForm, InvalidField.

    FastAPI's Form() takes an empty value for none at all: an empty user name would then be no user name, and the
    token of anybody would do. Here an empty value is a value.
    """

    async def read(request: Request) -> Model:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
            raise InvalidForm(f"expected a body of the type {_TYPE}")
        fields = _fields(await request.body())
        try:
            return model(**fields)
        except ValidationError as exc:
            raise RequestValidationError([error | {"loc": ("body", *error["loc"])} for error in exc.errors()]) from exc

    return read


def _fields(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict")
    except ValueError:
        raise InvalidForm("expected name=value pairs, percent-encoded in UTF-8") from None
    # https://www.rfc-editor.org/rfc/rfc6749#section-3.1: parameters must not be included more than once.
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidField("invalid_value", name[:64], "one value", "several")
        fields[name] = value
    return fields
