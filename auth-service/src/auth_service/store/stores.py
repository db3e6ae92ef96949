from dataclasses import dataclass
from typing import Final

from auth_service.store.accounts import AccountStore
from auth_service.store.api_keys import ApiKeyStore
from auth_service.store.audit import AuditStore
from auth_service.store.database import Database
from auth_service.store.deletions import DeletionStore
from auth_service.store.device_cookies import DeviceCookieStore
from auth_service.store.identities import IdentityStore
from auth_service.store.links import LinkStore
from auth_service.store.sessions import SessionStore
from auth_service.store.tickets import TicketStore

_YEAR_SECONDS: Final = 365 * 86400


@dataclass(frozen=True, slots=True)
class Stores:
    """One store per table, all on one database, so that a transaction can span several of them."""

    database: Database
    accounts: AccountStore
    sessions: SessionStore
    api_keys: ApiKeyStore
    links: LinkStore
    device_cookies: DeviceCookieStore
    tickets: TicketStore
    identities: IdentityStore
    deletions: DeletionStore
    audit: AuditStore

    @classmethod
    def from_database(cls, database: Database, audit_retention_seconds: int = _YEAR_SECONDS) -> "Stores":
        return cls(
            database=database,
            accounts=AccountStore(database),
            sessions=SessionStore(database),
            api_keys=ApiKeyStore(database),
            links=LinkStore(database),
            device_cookies=DeviceCookieStore(database),
            tickets=TicketStore(database),
            identities=IdentityStore(database),
            deletions=DeletionStore(database),
            audit=AuditStore(database, audit_retention_seconds),
        )
