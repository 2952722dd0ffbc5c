"""Likes of pictures."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("pictures", sa.Column("liked", sa.Boolean(), nullable=False, server_default=sa.false()))
