"""Fingerprints of pictures, and the queue of what a person should look at."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""
    op.add_column("pictures", sa.Column("fingerprint", sa.LargeBinary()))
    op.create_table(
        "reviews",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(16), nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("picture", sa.LargeBinary()),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("decided_at", sa.Double()),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"]),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("key_id", "subject", "content_sha256"),
        sa.CheckConstraint("status IN ('pending', 'approved', 'rejected')", name="status"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_reviews_key_id_number", "reviews", ["key_id", "number"])
