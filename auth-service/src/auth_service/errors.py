"""The tree of expected failures. Each knows its answer on the wire: status, type and code.

AuthError
├── RequestRefused                 400 invalid_request_error
│   ├── InvalidJson, InvalidForm, InvalidField
│   ├── BodyTooLarge               413
│   ├── UnsuitableName, UnsuitablePassword, UnsuitableEmail
│   ├── InvalidCredentials         401
│   ├── IntrospectionRefused       401
│   ├── NotLoggedIn                401
│   │   └── AccountChanged
│   ├── ForeignOrigin, NotAllowed  403
│   ├── RegistrationClosed         403
│   ├── WrongPassword, InvalidLink, UnsuitableKey
│   ├── LastAdministrator          409
│   ├── NameTaken, EmailTaken      409
│   └── OpenidRefused
├── NotFound                       404 not_found
│   └── UnknownAccount
├── TooManyRequests                429 too_many_requests
│   ├── TooManyAttempts
│   └── HashingBusy
├── StoreUnavailable               503 server_error
└── ProviderUnavailable            503 server_error
"""

from typing import ClassVar


class AuthError(Exception):
    """`param` names the field at fault, `retry_after_seconds` becomes Retry-After, `text` is the message by default."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str = "server_error"
    param: str | None = None
    retry_after_seconds: int | None = None
    text: ClassVar[str] = ""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.text)


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
    text = "A user name is 1 to 64 of the characters a-z, 0-9, '.', '_' and '-'."


class UnsuitablePassword(RequestRefused):
    code = "unsuitable_password"
    param = "password"


class UnsuitableEmail(RequestRefused):
    code = "unsuitable_email"
    param = "email"
    text = "Expected an e-mail address like alice@example.org, in ASCII: a domain with other letters in its xn-- form."


class InvalidCredentials(RequestRefused):
    """One text for an unknown user, a wrong password and a disabled account."""

    status = 401
    code = "invalid_credentials"
    text = "The user name or the password is wrong."


class NotLoggedIn(RequestRefused):
    status = 401
    code = "not_logged_in"
    text = "Expected the cookie of a session or an API key, got none that is valid: log in first."


class AccountChanged(NotLoggedIn):
    text = "This account was changed, disabled or deleted at this moment: log in again."


class IntrospectionRefused(RequestRefused):
    status = 401
    code = "invalid_introspection_credential"
    text = "Expected 'Authorization: Bearer' with the introspection credential."


class ForeignOrigin(RequestRefused):
    status = 403
    code = "foreign_origin"
    text = "The Origin of this request is neither this host nor in AUTH_ALLOWED_ORIGINS."


class NotAllowed(RequestRefused):
    status = 403
    code = "not_allowed"
    text = "This needs an administrator's session, or a key with the scope admin."


class RegistrationClosed(RequestRefused):
    status = 403
    code = "registration_closed"

    def __init__(self, expected: str) -> None:
        super().__init__(f"Nobody registers here {expected}: ask an administrator.")


class WrongPassword(RequestRefused):
    """Not a 401: who has forgotten the password is still logged in."""

    code = "wrong_password"
    param = "current_password"
    text = "The current password is wrong."


class InvalidLink(RequestRefused):
    """One text for a link that was used, has expired or never was one."""

    code = "invalid_link"
    text = "This link was used already, has expired or is incomplete: ask for a new one."


class LastAdministrator(RequestRefused):
    status = 409
    code = "last_administrator"
    text = "This is the only administrator who can log in: make somebody else one first."


class NameTaken(RequestRefused):
    status = 409
    code = "name_taken"
    param = "username"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a user named {name} already.")


class EmailTaken(RequestRefused):
    status = 409
    code = "email_taken"
    param = "email"
    text = "Another user has this e-mail address already."


class UnsuitableKey(RequestRefused):
    code = "unsuitable_key"


class OpenidRefused(RequestRefused):
    """`code` tells the page what to say; the reason is for the log alone, and the account, if there is one."""

    def __init__(self, code: str, reason: str, account_id: str | None = None) -> None:
        super().__init__(reason)
        self.code, self.account_id = code, account_id


class NotFound(AuthError):
    """Somebody else's and none at all answer the same."""

    status = 404
    type = "not_found"
    code = "not_found"

    def __init__(self, what: str) -> None:
        super().__init__(f"There is no such {what}.")


class UnknownAccount(NotFound):
    code = "user_not_found"

    def __init__(self, name: str) -> None:
        AuthError.__init__(self, f"There is no user named {name}.")


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
        super().__init__(f"Too many wrong passwords: try again in {retry_after_seconds} s.", retry_after_seconds)


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


class ProviderUnavailable(AuthError):
    status = 503
    code = "openid_unavailable"
    retry_after_seconds = 5

    def __init__(self, reason: str) -> None:
        super().__init__("The OpenID provider does not answer as it should.")
        self.reason = reason
