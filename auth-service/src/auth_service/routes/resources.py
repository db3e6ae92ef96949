"""Response bodies. Times are Unix seconds; lists have the same form as OpenAI's."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Generic, Literal, TypeVar

from auth_service.accounts import Account, Role, UsageLimits
from auth_service.audit import Action, Entry
from auth_service.one_time_links import IssuedLink
from auth_service.routes.request_bodies import StrictModel
from auth_service.tokens import ApiKey, Link, Scope, Session

T = TypeVar("T", bound="Resource")


class Resource(StrictModel):
    id: str


class Page(StrictModel, Generic[T]):
    object: Literal["list"] = "list"
    data: list[T]
    first_id: str | None
    last_id: str | None
    has_more: bool = False

    @classmethod
    def of(cls, resources: Sequence[T], *, limit: int | None = None) -> "Page[T]":
        """`resources` has more than `limit` items if there are further pages."""
        data = list(resources[:limit])
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return cls(data=data, first_id=first, last_id=last, has_more=len(resources) > len(data))


class Me(Resource):
    username: str
    role: Role

    @classmethod
    def of(cls, account: Account) -> "Me":
        return cls(id=account.id, username=account.name, role=account.role)


class UsageLimitsBody(StrictModel):
    messages_per_minute: int | None
    concurrent_answers: int | None
    tokens_per_day: int | None

    @classmethod
    def of(cls, limits: UsageLimits) -> "UsageLimitsBody":
        return cls(**asdict(limits))


class User(Resource):
    object: Literal["user"] = "user"
    username: str
    role: Role
    disabled: bool
    created_at: int
    email: str | None
    limits: UsageLimitsBody

    @classmethod
    def of(cls, account: Account) -> "User":
        return cls(
            id=account.id,
            username=account.name,
            role=account.role,
            disabled=account.disabled,
            created_at=account.created_at,
            email=account.email,
            limits=UsageLimitsBody.of(account.limits),
        )


class SessionResource(Resource):
    object: Literal["session"] = "session"
    device: str
    created_at: int
    last_used_at: int
    expires_at: int
    current: bool

    @classmethod
    def of(cls, session: Session, *, current: bool) -> "SessionResource":
        return cls(
            id=session.id,
            device=session.device,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_at=session.expires_at,
            current=current,
        )


class Key(Resource):
    """`key` is the key itself, only in the response to its creation."""

    object: Literal["api_key"] = "api_key"
    name: str
    scope: Scope
    prefix: str
    created_at: int
    last_used_at: int | None
    expires_at: int | None
    key: str | None = None

    @classmethod
    def of(cls, key: ApiKey, token: str | None = None) -> "Key":
        return cls(
            id=key.id,
            name=key.name,
            scope=key.scope,
            prefix=key.prefix,
            created_at=key.created_at,
            last_used_at=key.last_used_at,
            expires_at=key.expires_at,
            key=token,
        )


class Invite(Resource):
    object: Literal["invite"] = "invite"
    created_by: str | None
    created_at: int
    expires_at: int

    @classmethod
    def of(cls, link: Link) -> "Invite":
        return cls(id=link.id, created_by=link.created_by, created_at=link.created_at, expires_at=link.expires_at)


class OneTimeLink(Resource):
    """`link` is a URL of the page, only in the response to its creation."""

    object: Literal["invite", "reset"]
    link: str
    expires_at: int

    @classmethod
    def of(cls, issued: IssuedLink, public_url: str) -> "OneTimeLink":
        link = issued.link
        kind: Literal["invite", "reset"] = "invite" if link.account_id is None else "reset"
        return cls(id=link.id, object=kind, link=public_url + issued.path, expires_at=link.expires_at)


class AuditEntry(Resource):
    object: Literal["audit_entry"] = "audit_entry"
    at: int
    actor: str | None
    action: Action
    subject: str | None
    address: str | None

    @classmethod
    def of(cls, entry: Entry) -> "AuditEntry":
        return cls(
            id=str(entry.id),
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            subject=entry.subject,
            address=entry.address,
        )
