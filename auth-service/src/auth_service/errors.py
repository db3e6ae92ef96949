"""The tree of expected failures. Each error defines its HTTP status, type and code.

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
│   │   ├── InviteRequired
│   │   └── InvitesDisabled
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
    """`param` names the invalid field; `retry_after_seconds` becomes the Retry-After header."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str = "server_error"
    param: str | None = None
    retry_after_seconds: int | None = None
    default_message: ClassVar[str] = ""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.default_message)


class RequestRefused(AuthError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class InvalidJson(RequestRefused):
    code = "invalid_json"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The request body is not valid JSON: {reason}.")


class InvalidForm(RequestRefused):
    code = "invalid_form"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The request body is not a valid form: {reason}.")


class InvalidField(RequestRefused):
    """`got` describes the received value (its JSON type, its length), never the value itself: it may be a password."""

    def __init__(self, code: str, param: str | None, expected: str, got: str) -> None:
        super().__init__(f"{param or 'body'}: expected {expected}, got {got}.")
        self.code, self.param = code, param


class BodyTooLarge(RequestRefused):
    status = 413
    code = "body_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The request body exceeds the limit of {limit_bytes} bytes.")


class UnsuitableName(RequestRefused):
    code = "unsuitable_name"
    param = "username"
    default_message = "A user name must consist of 1 to 64 of the characters a-z, 0-9, '.', '_' and '-'."


class UnsuitablePassword(RequestRefused):
    code = "unsuitable_password"
    param = "password"


class UnsuitableEmail(RequestRefused):
    code = "unsuitable_email"
    param = "email"
    default_message = "Expected an ASCII e-mail address like alice@example.org (international domains in xn-- form)."


class InvalidCredentials(RequestRefused):
    """The same message for an unknown user, a wrong password and a disabled account."""

    status = 401
    code = "invalid_credentials"
    default_message = "The user name or the password is wrong."


class NotLoggedIn(RequestRefused):
    status = 401
    code = "not_logged_in"
    default_message = "This request requires a valid session cookie or API key: log in first."


class AccountChanged(NotLoggedIn):
    default_message = "The account was changed, disabled or deleted during this request: log in again."


class IntrospectionRefused(RequestRefused):
    status = 401
    code = "invalid_introspection_credential"
    default_message = "Expected 'Authorization: Bearer' with the introspection credential."


class ForeignOrigin(RequestRefused):
    status = 403
    code = "foreign_origin"
    default_message = "The Origin of this request is neither this host nor listed in AUTH_ALLOWED_ORIGINS."


class NotAllowed(RequestRefused):
    status = 403
    code = "not_allowed"
    default_message = "This request requires an administrator's session or an API key with the scope admin."


class RegistrationClosed(RequestRefused):
    status = 403
    code = "registration_closed"
    default_message = "Registration is closed: ask an administrator for an account."


class InviteRequired(RegistrationClosed):
    default_message = "Registration requires an invite: ask an administrator for one."


class InvitesDisabled(RegistrationClosed):
    default_message = "AUTH_REGISTRATION is closed, so an invite could not be used: set it to invite or open first."


class WrongPassword(RequestRefused):
    """Status 400, not 401: the session of the request remains valid."""

    code = "wrong_password"
    param = "current_password"
    default_message = "The current password is wrong."


class InvalidLink(RequestRefused):
    """The same message for a link that was used, has expired or never existed."""

    code = "invalid_link"
    default_message = "This link has already been used, has expired or is incomplete: ask for a new one."


class LastAdministrator(RequestRefused):
    status = 409
    code = "last_administrator"
    default_message = "This is the only administrator who can log in: make another user an administrator first."


class NameTaken(RequestRefused):
    status = 409
    code = "name_taken"
    param = "username"

    def __init__(self, name: str) -> None:
        super().__init__(f"A user named {name} already exists.")


class EmailTaken(RequestRefused):
    status = 409
    code = "email_taken"
    param = "email"
    default_message = "Another user already has this e-mail address."


class UnsuitableKey(RequestRefused):
    code = "unsuitable_key"


class OpenidRefused(RequestRefused):
    """`code` selects the message the page shows. The reason and the account, if known, are only logged."""

    def __init__(self, code: str, reason: str, account_id: str | None = None) -> None:
        super().__init__(reason)
        self.code, self.account_id = code, account_id


class NotFound(AuthError):
    """The same answer for another user's object and for one that does not exist."""

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
        super().__init__(f"Too many failed attempts: try again in {retry_after_seconds} s.", retry_after_seconds)


class HashingBusy(TooManyRequests):
    code = "busy"

    def __init__(self) -> None:
        super().__init__("Too many concurrent log-ins: try again in 1 s.", retry_after_seconds=1)


class StoreUnavailable(AuthError):
    status = 503
    code = "database_unavailable"
    retry_after_seconds = 1

    def __init__(self, reason: str) -> None:
        super().__init__("The accounts database is unavailable.")
        self.reason = reason


class ProviderUnavailable(AuthError):
    status = 503
    code = "openid_unavailable"
    retry_after_seconds = 5

    def __init__(self, reason: str) -> None:
        super().__init__("The OpenID provider is unreachable or returned an invalid response.")
        self.reason = reason
