"""What the servers of one database share: live progress, and the secret that signs addresses."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""
    op.add_column("jobs", sa.Column("look", sa.Text()))
    table = op.create_table(
        "secrets",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.LargeBinary(), nullable=False),
    )
    op.bulk_insert(table, [{"name": "links", "value": secrets.token_bytes(32)}])
