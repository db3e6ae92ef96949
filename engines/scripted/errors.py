"""Errors, with vLLM 0.32's status, type and message.

EngineError
├── BadRequest            400 "BadRequestError": invalid values
│   ├── BadDirective      ours: a directive that cannot be parsed
│   └── BadGrammar        a schema that cannot be compiled to a grammar; in a stream, an event
├── MalformedRequest      400 "Bad Request": the body does not match its schema
├── ModelNotFound         404 "NotFoundError"
├── Unsupported           501 "NotImplementedError"
├── EngineBusy            503 "Service Unavailable": the queue is full
├── RoutingError          404, 405, 400: the responses of vLLM's web framework
└── ScriptedStatus        any status that a script requests
"""

from http import HTTPStatus
from typing import Any, Final

_STATUSES: Final = {int(status) for status in HTTPStatus}
_TYPE_OF: Final = {400: "BadRequestError", 404: "NotFoundError", 500: "InternalServerError"}


class EngineError(Exception):
    status: int = HTTPStatus.BAD_REQUEST
    type: str = "BadRequestError"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def body(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": int(self.status)}
        return {"error": error}


class BadRequest(EngineError):
    """`value` is repeated in the message, as vLLM does."""

    def __init__(self, message: str, *, param: str | None = None, value: object = None) -> None:
        extras = [f"parameter={param}"] * (param is not None) + [f"value={value}"] * (value is not None)
        super().__init__(f"{message} ({', '.join(extras)})" if extras else message, param=param)


class BadDirective(BadRequest):
    def __init__(self, message: str) -> None:
        super().__init__(f"scripted engine: {message}")


class BadGrammar(BadRequest):
    def __init__(self, reason: str) -> None:
        # vLLM has the time and a line of xgrammar's source there.
        super().__init__(f"Failed to transform json schema into a grammar: [00:00:00] <path>:0: {reason}")


class MalformedRequest(EngineError):
    type = "Bad Request"


class ModelNotFound(EngineError):
    status = HTTPStatus.NOT_FOUND
    type = "NotFoundError"

    def __init__(self, requested: str, served: str) -> None:
        super().__init__(f"The model `{requested}` does not exist. Valid aliases: {served}.", param="model")


class Unsupported(EngineError):
    status = HTTPStatus.NOT_IMPLEMENTED
    type = "NotImplementedError"


class EngineBusy(EngineError):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    type = "Service Unavailable"

    def __init__(self) -> None:
        super().__init__(
            "The engine is currently busy and cannot accept new requests. "
            "Please try again later or on a different instance."
        )


class RoutingError(EngineError):
    def __init__(self, status: int, detail: str, *, allow: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.allow = allow

    def body(self) -> dict[str, Any]:
        return {"detail": self.message}


class ScriptedStatus(EngineError):
    def __init__(self, status: int) -> None:
        super().__init__("Internal server error" if status == 500 else "A script requested this status.")
        self.status = status
        self.type = _TYPE_OF.get(status, phrase(status))


def phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in _STATUSES else "Error"
