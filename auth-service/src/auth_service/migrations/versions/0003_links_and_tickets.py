"""One-time links (invites and new passwords) and tickets."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "links",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("token_digest", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=True),
        sa.Column("created_by", sa.String(64), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_links"),
        sa.UniqueConstraint("token_digest", name="uq_links_token_digest"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_links_account_id", ondelete="CASCADE"),
    )
    op.create_index("ix_links_account_id", "links", ["account_id"])
    op.create_index("ix_links_expires_at", "links", ["expires_at"])
    op.create_table(
        "tickets",
        sa.Column("token_digest", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("credential", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_digest", name="pk_tickets"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_tickets_account_id", ondelete="CASCADE"),
    )
    op.create_index("ix_tickets_account_id", "tickets", ["account_id"])
    op.create_index("ix_tickets_expires_at", "tickets", ["expires_at"])
