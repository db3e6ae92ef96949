"""The audit log's vocabulary. An entry never contains a secret, a submitted name or free text."""

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Final


class Action(StrEnum):
    LOGGED_IN = auto()
    LOGIN_REFUSED = auto()
    LOGGED_OUT = auto()
    REGISTERED = auto()
    PASSWORD_CHANGED = auto()
    PASSWORD_RESET = auto()
    SESSION_REVOKED = auto()
    SESSIONS_REVOKED = auto()
    KEY_CREATED = auto()
    KEY_REVOKED = auto()
    INVITE_CREATED = auto()
    INVITE_REVOKED = auto()
    INVITE_USED = auto()
    RESET_CREATED = auto()
    USER_CREATED = auto()
    USER_DISABLED = auto()
    USER_ENABLED = auto()
    USER_DELETED = auto()
    ROLE_CHANGED = auto()
    LIMITS_CHANGED = auto()
    EMAIL_CHANGED = auto()
    OPENID_LINKED = auto()


@dataclass(frozen=True, slots=True)
class Actor:
    """`id` is an account's id or the name of a component without an account; None if unauthenticated."""

    id: str | None
    address: str | None = None


COMMAND_LINE: Final = Actor("command line")
GATEWAY: Final = Actor("gateway")


@dataclass(frozen=True, slots=True)
class Entry:
    """`at` is in Unix seconds, `subject` the id of the affected account, session, key or invite."""

    at: int
    actor: str | None
    action: Action
    subject: str | None
    address: str | None
    id: int = 0


def new_entry(actor: Actor, action: Action, subject: str | None, now: int) -> Entry:
    return Entry(now, actor.id, action, subject, actor.address)
