"""Runs migrations with Alembic on the connection, and in the transaction, that opens the database."""

from alembic import context

from sumi.store.schema import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
