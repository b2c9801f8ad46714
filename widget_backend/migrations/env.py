"""Run the migrations as the owner role, one at a time however many hosts start at once."""

from alembic import context
from flask import current_app
from sqlalchemy import create_engine, pool, text

from widget_backend.config import Config
from widget_backend.extensions import db

LOCK = 7_665_116  # any constant: what two hosts that migrate at once meet at


def run() -> None:
    """Bring the database to the wanted revision in one transaction."""
    config: Config = current_app.extensions["mostik"]
    engine = create_engine(config.database_owner_url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.configure(connection=connection, target_metadata=db.metadata, compare_type=True)
        with context.begin_transaction():
            context.run_migrations()


run()
