"""Who did what to whom, when and from where: never a secret, a typed name or a text."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Action(StrEnum):
    LOGGED_IN = "logged_in"
    LOGIN_REFUSED = "login_refused"
    LOGGED_OUT = "logged_out"
    REGISTERED = "registered"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - what happened, not a password
    PASSWORD_RESET = "password_reset"  # noqa: S105
    SESSION_REVOKED = "session_revoked"
    SESSIONS_REVOKED = "sessions_revoked"
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"
    INVITE_CREATED = "invite_created"
    INVITE_REVOKED = "invite_revoked"
    RESET_CREATED = "reset_created"
    USER_CREATED = "user_created"
    USER_DISABLED = "user_disabled"
    USER_ENABLED = "user_enabled"
    USER_DELETED = "user_deleted"
    ROLE_CHANGED = "role_changed"
    LIMITS_CHANGED = "limits_changed"
    EMAIL_CHANGED = "email_changed"
    OPENID_LINKED = "openid_linked"


@dataclass(frozen=True, slots=True)
class Actor:
    """`id` is an account's, or the name of what acts without one; None is a stranger."""

    id: str | None
    address: str | None = None


COMMAND_LINE: Final = Actor("command line")
GATEWAY: Final = Actor("gateway")


@dataclass(frozen=True, slots=True)
class Entry:
    """`at` is in Unix seconds, `subject` the id of what it was done to: an account, a session, a key, an invite."""

    at: int
    actor: str | None
    action: Action
    subject: str | None
    address: str | None
    id: int = 0


def entry(actor: Actor, action: Action, subject: str | None, now: int) -> Entry:
    return Entry(now, actor.id, action, subject, actor.address)
