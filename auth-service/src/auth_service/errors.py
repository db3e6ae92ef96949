"""The tree of expected failures. Each knows its answer on the wire: status, type and code.

AuthError
├── RequestRefused                 400 invalid_request_error
│   ├── InvalidJson, InvalidForm
│   ├── InvalidField
│   ├── BodyTooLarge               413
│   ├── UnsuitableName, UnsuitablePassword
│   ├── InvalidCredentials         401
│   ├── NotLoggedIn                401
│   ├── IntrospectionRefused       401
│   ├── ForeignOrigin              403
│   ├── UnsuitableKey
│   └── NameTaken                  409
├── UnknownAccount                 404 not_found
├── TooManyRequests                429 too_many_requests
│   ├── TooManyAttempts
│   └── HashingBusy
└── StoreUnavailable               503 server_error
"""

from typing import ClassVar


class AuthError(Exception):
    """`param` names the field at fault; `retry_after_seconds` becomes Retry-After."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str = "server_error"
    param: str | None = None
    retry_after_seconds: int | None = None


class RequestRefused(AuthError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class InvalidJson(RequestRefused):
    code = "invalid_json"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The body is not JSON: {reason}.")


class InvalidForm(RequestRefused):
    code = "invalid_form"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The body is not the form of this request: {reason}.")


class InvalidField(RequestRefused):
    """`got` describes what came (a JSON type, a length), never the value: it may be a password."""

    def __init__(self, code: str, param: str | None, expected: str, got: str) -> None:
        super().__init__(f"{param or 'body'}: expected {expected}, got {got}.")
        self.code, self.param = code, param


class BodyTooLarge(RequestRefused):
    status = 413
    code = "body_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"Expected a body of at most {limit_bytes} bytes, got more.")


class UnsuitableName(RequestRefused):
    code = "unsuitable_name"
    param = "username"

    def __init__(self) -> None:
        super().__init__("A user name is 1 to 64 of the characters a-z, 0-9, '.', '_' and '-'.")


class UnsuitablePassword(RequestRefused):
    code = "unsuitable_password"
    param = "password"


class InvalidCredentials(RequestRefused):
    """One text for an unknown user, a wrong password and a disabled account."""

    status = 401
    code = "invalid_credentials"

    def __init__(self) -> None:
        super().__init__("The user name or the password is wrong.")


class NotLoggedIn(RequestRefused):
    status = 401
    code = "not_logged_in"

    def __init__(self) -> None:
        super().__init__("Expected the cookie of a session, got none that is valid: log in first.")


class IntrospectionRefused(RequestRefused):
    status = 401
    code = "invalid_introspection_credential"

    def __init__(self) -> None:
        super().__init__("Expected 'Authorization: Bearer' with the introspection credential.")


class ForeignOrigin(RequestRefused):
    status = 403
    code = "foreign_origin"

    def __init__(self) -> None:
        super().__init__("The Origin of this request is neither this host nor in AUTH_ALLOWED_ORIGINS.")


class NameTaken(RequestRefused):
    status = 409
    code = "name_taken"
    param = "username"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a user named {name} already.")


class UnsuitableKey(RequestRefused):
    code = "unsuitable_key"


class UnknownAccount(AuthError):
    status = 404
    type = "not_found"
    code = "user_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no user named {name}.")


class TooManyRequests(AuthError):
    status = 429
    type = "too_many_requests"
    code = "too_many_requests"

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TooManyAttempts(TooManyRequests):
    code = "too_many_attempts"

    def __init__(self, retry_after_seconds: int) -> None:
        wait = f"{retry_after_seconds} s"
        super().__init__(
            f"Too many log-in attempts for this user from this address: try again in {wait}.", retry_after_seconds
        )


class HashingBusy(TooManyRequests):
    code = "busy"

    def __init__(self) -> None:
        super().__init__("Too many log-ins at this moment: try again in 1 s.", retry_after_seconds=1)


class StoreUnavailable(AuthError):
    status = 503
    code = "database_unavailable"
    retry_after_seconds = 1

    def __init__(self, reason: str) -> None:
        super().__init__("The accounts database is not available.")
        self.reason = reason
