"""Alembic runs this file to bring the tables up to date, on a connection that `service.users.database` hands over."""

from alembic import context

from service.users.database import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,  # SQLite can, though Alembic doesn't expect it: all steps or none
    render_as_batch=True,  # SQLite changes a column by copying the table
    compare_type=True,
)
context.run_migrations()
