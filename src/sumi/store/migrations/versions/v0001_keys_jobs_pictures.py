"""Keys and their meters, jobs, their inputs and pictures, and the local key."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Begin."""
    keys = op.create_table(
        "keys",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hint", sa.String(24), nullable=False),
        sa.Column("token_sha256", sa.String(64), unique=True),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("requests_per_minute", sa.BigInteger()),
        sa.Column("concurrent_jobs", sa.BigInteger()),
        sa.Column("pixel_steps_per_day", sa.BigInteger()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.Column("turn", sa.BigInteger(), nullable=False),
    )
    scopes = '["draw","read","admin"]'
    local = {"id": "local", "name": "this machine", "hint": "", "scopes": scopes, "created_at": time.time(), "turn": 0}
    op.bulk_insert(keys, [local])
    op.create_table(
        "meters",
        sa.Column("key_id", sa.String(40), sa.ForeignKey("keys.id"), primary_key=True),
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("clear_at", sa.Double(), nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("key_id", sa.String(40), sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(64)),
        sa.Column("lease_until", sa.Double()),
        sa.CheckConstraint("status IN ('queued', 'running', 'succeeded', 'failed', 'canceled')", name="status"),
        sa.CheckConstraint("(status = 'running') = (worker IS NOT NULL)", name="worker"),
        sa.CheckConstraint(
            "(status IN ('succeeded', 'failed', 'canceled')) = (finished_at IS NOT NULL)", name="finished"
        ),
        sa.UniqueConstraint("key_id", "idempotency_key"),
        sqlite_autoincrement=True,
    )
    op.create_index(None, "jobs", ["status", "priority", "number"])
    op.create_index(None, "jobs", ["key_id", "number"])
    op.create_table(
        "inputs",
        sa.Column("job_id", sa.String(40), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
    )
    op.create_index(None, "inputs", ["digest"])
    op.create_table(
        "pictures",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("job_id", sa.String(40), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("key_id", sa.String(40), sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("media_type", sa.String(64), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("embedding", sa.LargeBinary()),
        sa.Column("embedded_by", sa.String(64)),
        sa.UniqueConstraint("job_id", "position"),
        sqlite_autoincrement=True,
    )
    op.create_index(None, "pictures", ["key_id", "number"])
    op.create_index(None, "pictures", ["digest"])
