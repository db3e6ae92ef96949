"""Device cookies, under the name used before OWASP's term: browsers with an earlier log-in to an account."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "known_browsers",
        sa.Column("token_digest", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_digest", name="pk_known_browsers"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name="fk_known_browsers_account_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_known_browsers_account_id", "known_browsers", ["account_id"])
    op.create_index("ix_known_browsers_expires_at", "known_browsers", ["expires_at"])
