"""Run by Alembic: the connection comes from `chambit.hub.database`."""

from alembic import context

from chambit.hub.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
