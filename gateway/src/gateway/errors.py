"""Every failure a client may see, with its wire code and HTTP status.

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
│   └── EventsExpired
├── TooManyRequests (429)
├── EngineFailed (500)
│   ├── EngineCrashed
│   └── AnswerInterrupted
├── InternalError (500)
└── Unavailable (503)
    ├── Leaving (502)
    ├── StorageFull
    ├── StorageLost
    └── UnsafeEvictionPolicy
"""

from collections.abc import Sequence
from typing import ClassVar


class ParleyError(Exception):
    """`type` and `code` are the wire's words (Open Responses, "Errors"); `param` names the field at fault."""

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
        """What goes with it over HTTP."""
        return {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}


class InvalidRequest(ParleyError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class UnsupportedParameter(InvalidRequest):
    code = "unsupported_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"`{param}` is not supported here; leave it out", param=param)


class UnsupportedContent(InvalidRequest):
    code = "unsupported_content"

    def __init__(self, kind: str, param: str) -> None:
        super().__init__(f"{kind[:100]!r} is not supported here; only text is", param=param)


class PreviousResponseNotFound(InvalidRequest):
    """OpenAI's own shape for it."""

    code = "previous_response_not_found"

    def __init__(self) -> None:
        super().__init__("no such response to go on from", param="previous_response_id")


class InvalidJson(InvalidRequest):
    code = "invalid_json"

    def __init__(self, problem: str) -> None:
        super().__init__(f"expected a JSON object, got {problem}")


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"

    def __init__(self, tokens: int | None = None, limit: int | None = None, *, param: str = "input") -> None:
        numbers = f" of {limit} tokens by needing {tokens}" if limit is not None else ""
        super().__init__(f"the message exceeds the model's context{numbers}; shorten it", param=param)
        self.tokens = tokens
        self.limit = limit


class EngineRefused(InvalidRequest):
    """What was asked for passed our own checks, but the model server can not do it: a schema it has no grammar for,
    function tools without a parser."""

    code = "engine_refused"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the model server refuses this: {reason[:500]}")


class MethodNotAllowed(InvalidRequest):
    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"this address does not know {method[:20]}; it knows {', '.join(allowed)}")
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

    def __init__(self, what: str, limit: int, instead: str = "delete some, or begin a new conversation") -> None:
        super().__init__(f"no more than {limit} {what} are kept; {instead}")


class IdempotencyKeyReused(InvalidRequest):
    """Answering with the first message's answer would lose the second without a word."""

    status = 422
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("another message was sent under this id already; give each message an id of its own")


class UpgradeRequired(InvalidRequest):
    status = 426
    code = "upgrade_required"

    def __init__(self) -> None:
        super().__init__("expected a WebSocket handshake (RFC 6455) here")

    def headers(self) -> dict[str, str]:
        """RFC 9110, 15.5.22."""
        return {"Upgrade": "websocket", "Connection": "Upgrade"}


class ConnectionLimitReached(InvalidRequest):
    code = "websocket_connection_limit_reached"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"this socket is open for {seconds / 60:g} minutes; connect again, and resume from there")


class Unauthenticated(ParleyError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__("log in, or send `Authorization: Bearer <API key>`")

    def headers(self) -> dict[str, str]:
        """RFC 9110, 15.5.2. Browsers ask nobody for this scheme."""
        return {"WWW-Authenticate": "Bearer"}


class OriginRefused(ParleyError):
    status = 403
    type = "invalid_request_error"
    code = "origin_not_allowed"

    def __init__(self, origin: str) -> None:
        super().__init__(f"pages of {origin[:200]!r} may not use a session of this site")


class NotFound(ParleyError):
    """A foreign object and an absent one answer the same."""

    status = 404
    type = "not_found"
    code = "not_found"

    def __init__(self, what: str, *, param: str | None = None) -> None:
        super().__init__(f"no such {what}", param=param)


class ModelNotFound(NotFound):
    type = "invalid_request_error"
    code = "model_not_found"

    def __init__(self, model: str, served: str) -> None:
        super().__init__(f"model {model[:200]!r}; this server runs {served!r}", param="model")


class EventsExpired(NotFound):
    """The response is there, the events it was made of are not any more."""

    code = "events_expired"

    def __init__(self) -> None:
        super().__init__("event of this answer any more; retrieve it without `stream`", param="stream")


class TooManyRequests(ParleyError):
    status = 429
    type = "too_many_requests"
    code = "too_many_requests"
    retry_after_seconds = 1


class EngineFailed(ParleyError):
    """The model server answered, but not with an answer."""

    status = 500
    type = "model_error"
    code = "model_error"


class EngineCrashed(EngineFailed):
    """It failed inside. A model server that is about to end says the same, so it may be worth asking again."""


class AnswerInterrupted(EngineFailed):
    code = "answer_interrupted"

    def __init__(self) -> None:
        super().__init__("the model server was lost in the middle of a function call, a thought or a schema; ask again")


class InternalError(ParleyError):
    status = 500
    type = "server_error"
    code = "server_error"

    def __init__(self) -> None:
        super().__init__("an unexpected failure; it is in the server's log")


class Unavailable(ParleyError):
    """A dependency does not answer; `dependency` is its service name."""

    status = 503
    type = "server_error"
    code = "service_unavailable"
    retry_after_seconds = 1

    def __init__(self, dependency: str) -> None:
        super().__init__(f"{dependency} is not reachable at the moment; try again")
        self.dependency = dependency


class ShuttingDown(Unavailable):
    """This gateway, not what it needs: another may do it, so nginx asks one, which it does for no other refusal."""

    status = 502
    code = "gateway_leaving"

    def __init__(self) -> None:
        super().__init__("gateway")
        self.message = "this gateway is about to restart; try again"


class StorageFull(Unavailable):
    """Redis has no room, or is a replica: what is there can be read, and nothing can be added."""

    code = "storage_full"
    retry_after_seconds = 30

    def __init__(self) -> None:
        super().__init__("redis")
        self.message = "nothing can be kept at the moment: the storage is full or read-only; what is there can be read"


class UnsafeEvictionPolicy(Unavailable):
    def __init__(self, policy: str) -> None:
        super().__init__("redis")
        self.message = (
            f"redis would forget conversations when it is full: maxmemory-policy is {policy!r}, set noeviction"
        )


class StorageLost(Unavailable):
    """Redis replies, but what was stored in it is gone."""

    def __init__(self) -> None:
        super().__init__("redis")
        self.message = "redis has lost stored data; see the section `Restarting Redis` of docs/operations.md"
