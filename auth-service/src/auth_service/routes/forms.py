from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from auth_service.errors import InvalidField, InvalidForm
from auth_service.routes.request_bodies import StrictModel

Model = TypeVar("Model", bound=StrictModel)

_CONTENT_TYPE: Final = "application/x-www-form-urlencoded"


def form_body(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """Returns a dependency, which raises InvalidForm and InvalidField.

    FastAPI's Form() treats an empty value as missing: an empty user name would then select the introspection that
    accepts any user's token. Here an empty value is a value.
    """

    async def read(request: Request) -> Model:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _CONTENT_TYPE:
            raise InvalidForm(f"expected the content type {_CONTENT_TYPE}")
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
            raise InvalidField("invalid_value", name[:64], "a single value", "several")
        fields[name] = value
    return fields
