"""Alembic runs this file to bring the tables up to date, on a connection from `service.users.database`."""

from alembic import context

from service.users.database import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # all steps or none; SQLite supports it, though Alembic assumes that it doesn't
    render_as_batch=True,  # SQLite changes a column by copying the table
    compare_type=True,
)
context.run_migrations()
