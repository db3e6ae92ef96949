"""Every error that a client can receive, with its code on the wire and its HTTP status.

ParleyError
├── InvalidRequest (400)
│   ├── UnsupportedParameter
│   ├── UnsupportedContent
│   ├── PreviousResponseNotFound
│   ├── InvalidJson
│   ├── ContextLengthExceeded
│   ├── EngineRefused
│   ├── StorageLimit
│   ├── ConnectionLimitReached
│   ├── IdempotencyKeyReused (422)
│   ├── MethodNotAllowed (405)
│   ├── UnsupportedMediaType (415)
│   └── UpgradeRequired (426)
├── Unauthenticated (401)
├── OriginRefused (403)
├── NotFound (404)
│   ├── ModelNotFound
│   ├── EventsExpired
│   └── EventsLost
├── TooManyRequests (429)
├── EngineFailed (500)
│   ├── EngineCrashed
│   └── AnswerInterrupted
├── InternalError (500)
└── Unavailable (503)
    ├── ShuttingDown (502)
    ├── StorageFull
    ├── StorageLost
    └── UnsafeEvictionPolicy
"""

from collections.abc import Sequence
from typing import ClassVar


class ParleyError(Exception):
    """`type` and `code` are those of the wire (Open Responses, "Errors"); `param` names the field at fault."""

    status: ClassVar[int]
    type: ClassVar[str]
    code: str
    retry_after_seconds: int | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code

    def body(self) -> dict[str, str | None]:
        """The `error` object: `{type, code, message, param}`."""
        return {"type": self.type, "code": self.code, "message": self.message, "param": self.param}

    def headers(self) -> dict[str, str]:
        """Its headers over HTTP."""
        return {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}


class InvalidRequest(ParleyError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class UnsupportedParameter(InvalidRequest):
    code = "unsupported_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"`{param}` is not supported; omit it", param=param)


class UnsupportedContent(InvalidRequest):
    code = "unsupported_content"

    def __init__(self, kind: str, param: str) -> None:
        super().__init__(f"{kind[:100]!r} is not supported; send text", param=param)


class PreviousResponseNotFound(InvalidRequest):
    """A 400 with these fields, as OpenAI returns it."""

    code = "previous_response_not_found"

    def __init__(self) -> None:
        super().__init__("no such response to continue from", param="previous_response_id")


class InvalidJson(InvalidRequest):
    code = "invalid_json"

    def __init__(self, problem: str) -> None:
        super().__init__(f"expected a JSON object, got {problem}")


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"

    def __init__(self, tokens: int | None = None, limit: int | None = None, *, param: str = "input") -> None:
        numbers = f" of {limit} tokens: it has {tokens}" if limit is not None else ""
        super().__init__(f"the input exceeds the model's context window{numbers}; shorten it", param=param)
        self.tokens = tokens
        self.limit = limit


class EngineRefused(InvalidRequest):
    """The request passed our own checks, but the model server does not support it: a schema that it cannot enforce,
    function tools without a parser."""

    code = "engine_refused"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the model server refused the request: {reason[:500]}")


class MethodNotAllowed(InvalidRequest):
    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"expected one of the methods {', '.join(allowed)} for this path, got {method[:20]}")
        self.allowed = allowed

    def headers(self) -> dict[str, str]:
        """RFC 9110, 15.5.6."""
        return {"Allow": ", ".join(self.allowed)}


class UnsupportedMediaType(InvalidRequest):
    status = 415
    code = "unsupported_media_type"

    def __init__(self, media_type: str) -> None:
        super().__init__(f"expected a body of type application/json, got {media_type[:100]!r}")


class StorageLimit(InvalidRequest):
    code = "storage_limit_reached"

    def __init__(self, what: str, limit: int, remedy: str = "delete some, or start a new conversation") -> None:
        super().__init__(f"you have reached the limit of {limit} {what}; {remedy}")


class IdempotencyKeyReused(InvalidRequest):
    """The response to the first message would be returned for the second, which would be lost silently."""

    status = 422
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("this id was already used for a different message; send each message with its own id")


class UpgradeRequired(InvalidRequest):
    status = 426
    code = "upgrade_required"

    def __init__(self) -> None:
        super().__init__("expected a WebSocket handshake (RFC 6455)")

    def headers(self) -> dict[str, str]:
        """RFC 9110, 15.5.22."""
        return {"Upgrade": "websocket", "Connection": "Upgrade"}


class ConnectionLimitReached(InvalidRequest):
    code = "websocket_connection_limit_reached"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"this socket has reached its age limit of {seconds / 60:g} minutes; reconnect and resume")


class Unauthenticated(ParleyError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__("expected a valid session or API key; log in, or send `Authorization: Bearer <API key>`")

    def headers(self) -> dict[str, str]:
        """RFC 9110, 15.5.2. Browsers show no password prompt for this scheme."""
        return {"WWW-Authenticate": "Bearer"}


class OriginRefused(ParleyError):
    status = 403
    type = "invalid_request_error"
    code = "origin_not_allowed"

    def __init__(self, origin: str) -> None:
        super().__init__(f"requests from origin {origin[:200]!r} may not use this site's session")


class NotFound(ParleyError):
    """The same for another user's object as for an absent one."""

    status = 404
    type = "not_found"
    code = "not_found"

    def __init__(self, what: str, *, param: str | None = None, message: str | None = None) -> None:
        super().__init__(message or f"no such {what}", param=param)


class ModelNotFound(NotFound):
    type = "invalid_request_error"
    code = "model_not_found"

    def __init__(self, model: str, served: str) -> None:
        super().__init__(f"model {model[:200]!r}; this server serves {served!r}", param="model")


class EventsExpired(NotFound):
    """The response is still stored, its events are not."""

    code = "events_expired"

    def __init__(self) -> None:
        message = "the events of this response have expired; retrieve it without `stream`"
        super().__init__("event", param="stream", message=message)


class EventsLost(NotFound):
    """What Redis has left of the events does not continue those that a follower was shown."""

    code = "events_lost"

    def __init__(self) -> None:
        message = "the storage has lost events of this response; retrieve it again without `starting_after`"
        super().__init__("event", param="starting_after", message=message)


class TooManyRequests(ParleyError):
    status = 429
    type = "too_many_requests"
    code = "too_many_requests"
    retry_after_seconds = 1


class EngineFailed(ParleyError):
    """The model server failed, or returned something other than an answer."""

    status = 500
    type = "model_error"
    code = "model_error"


class EngineCrashed(EngineFailed):
    """An internal error of the model server. It returns the same while it shuts down, so a retry may succeed."""


class AnswerInterrupted(EngineFailed):
    code = "answer_interrupted"

    def __init__(self) -> None:
        super().__init__(
            "the model server was lost in the middle of a function call, reasoning or a schema; send the request again"
        )


class InternalError(ParleyError):
    status = 500
    type = "server_error"
    code = "server_error"

    def __init__(self) -> None:
        super().__init__("an unexpected failure; the server's log has the details")


class Unavailable(ParleyError):
    """A dependency does not respond; `dependency` is its service name."""

    status = 503
    type = "server_error"
    code = "service_unavailable"
    retry_after_seconds = 1

    def __init__(self, dependency: str, *, message: str | None = None) -> None:
        super().__init__(message or f"{dependency} is not reachable at the moment; try again")
        self.dependency = dependency


class ShuttingDown(Unavailable):
    """This gateway itself is unavailable. nginx retries a 502 at another gateway, and no other error."""

    status = 502
    code = "gateway_leaving"

    def __init__(self) -> None:
        super().__init__("gateway", message="this gateway is about to restart; try again")


class StorageFull(Unavailable):
    """Redis is out of memory or disk, or is a read-only replica: stored data can be read, and nothing can be added."""

    code = "storage_full"
    retry_after_seconds = 30

    def __init__(self) -> None:
        message = "nothing can be stored at the moment: the storage is full or read-only; stored data can be read"
        super().__init__("redis", message=message)


class UnsafeEvictionPolicy(Unavailable):
    def __init__(self, policy: str) -> None:
        message = f"redis would evict conversations when it is full: maxmemory-policy is {policy!r}, set noeviction"
        super().__init__("redis", message=message)


class StorageLost(Unavailable):
    """Redis replies, but what was stored in it is gone."""

    def __init__(self) -> None:
        message = "redis has lost stored data; see the section `Restarting Redis` of docs/operations.md"
        super().__init__("redis", message=message)
