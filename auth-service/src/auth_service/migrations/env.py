"""Run by Alembic with the connection, and inside the transaction, of store.migration."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
