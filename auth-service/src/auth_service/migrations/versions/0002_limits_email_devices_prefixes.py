"""Limits and e-mail addresses of accounts, devices of sessions, prefixes of API keys.

Columns are only added: SQLite changes one by copying the table, and dropping the old one would cascade to every session.
"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("password_credential", sa.String(64)),
        sa.Column("email", sa.String(254)),
        sa.Column("messages_per_minute", sa.BigInteger()),
        sa.Column("concurrent_answers", sa.BigInteger()),
        sa.Column("tokens_per_day", sa.BigInteger()),
    ):
        op.add_column("accounts", column)
    op.add_column("sessions", sa.Column("device", sa.String(64), nullable=False, server_default=""))
    op.add_column("api_keys", sa.Column("prefix", sa.String(16), nullable=False, server_default=""))
    connection = op.get_bind()
    for (account_id,) in connection.execute(sa.text("SELECT id FROM accounts")).all():
        connection.execute(
            sa.text("UPDATE accounts SET password_credential = :credential WHERE id = :id"),
            {"credential": secrets.token_hex(32), "id": account_id},
        )
    op.create_index("ix_accounts_password_credential", "accounts", ["password_credential"], unique=True)
    op.create_index("ix_accounts_email", "accounts", ["email"], unique=True)
