"""Times are Unix seconds in BIGINT: SQLite stores no time zones, and integers compare the same in every database."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Integer, MetaData, String, Table

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts: Final = Table(
    "accounts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),
    Column("role", String(16), CheckConstraint("role IN ('user', 'admin')", name="role"), nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("password_credential", String(64), index=True, unique=True),
    Column("email", String(254), index=True, unique=True),
    Column("messages_per_minute", BigInteger),
    Column("concurrent_answers", BigInteger),
    Column("tokens_per_day", BigInteger),
)

# `token_digest`, here and in other tables, is the `credential` of the records in auth_service.tokens.
sessions: Final = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("token_digest", String(64), nullable=False, unique=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("device", String(64), nullable=False, server_default=""),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("token_digest", String(64), nullable=False, unique=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(64), nullable=False),
    Column("scope", String(16), CheckConstraint("scope IN ('chat', 'admin')", name="scope"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger, nullable=True),
    Column("expires_at", BigInteger, nullable=True),
    Column("prefix", String(16), nullable=False, server_default=""),
)

# `kind` is the token's prefix: a value of auth_service.tokens.TokenKind.
links: Final = Table(
    "links",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("token_digest", String(64), nullable=False, unique=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=True, index=True),
    Column("created_by", String(64), nullable=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

tickets: Final = Table(
    "tickets",
    metadata,
    Column("token_digest", String(64), primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("credential", String(64), nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

# Device cookies: the stored names, `known_browsers` here and `pb_` of their tokens, predate the term.
device_cookies: Final = Table(
    "known_browsers",
    metadata,
    Column("token_digest", String(64), primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

# A subject is only unique per issuer.
identities: Final = Table(
    "identities",
    metadata,
    Column("issuer", String(255), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
)

# No foreign keys: an entry outlives the account it refers to.
audit: Final = Table(
    "audit",
    metadata,
    # SQLite auto-increments only INTEGER PRIMARY KEY.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("actor", String(64), nullable=True),
    Column("action", String(32), nullable=False),
    Column("subject", String(64), nullable=True),
    Column("address", String(64), nullable=True),
)

# Deleted accounts whose conversations no gateway has confirmed to be deleted yet.
deletions: Final = Table(
    "deletions",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("deleted_at", BigInteger, nullable=False),
)
