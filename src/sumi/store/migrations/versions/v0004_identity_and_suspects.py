"""The identity of a store, the files that it may sweep, the cost of jobs, and suspects of a crash."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""
    op.add_column("jobs", sa.Column("pixel_steps", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("suspicions", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("alone", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("jobs", sa.Column("removed", sa.Text()))
    op.execute("UPDATE keys SET turn = 0")  # it was counted in claims, and is counted in pixel-steps from now on
    op.create_table(
        "leftovers",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("noted_at", sa.Double(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
    )
    table = sa.table("secrets", sa.column("name", sa.String), sa.column("value", sa.LargeBinary))
    op.bulk_insert(table, [{"name": "store", "value": secrets.token_bytes(16)}])
