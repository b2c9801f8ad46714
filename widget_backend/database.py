"""The schema of the database: brought up to date as the owner role, used by the application role."""

import psycopg
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask_migrate import upgrade
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from widget_backend.config import Config
from widget_backend.extensions import MIGRATIONS_DIR


def migrate_schema(config: Config) -> None:
    """Bring the schema up to date; what the owner makes, the application role may use from then on."""
    from widget_backend import create_app

    grant_to_app(config.database_owner_url, app_role=make_url(config.database_url).username or "")
    with create_app(config).app_context():
        upgrade(directory=str(MIGRATIONS_DIR))


def grant_to_app(owner_url: str, *, app_role: str) -> None:
    """Let the application role use, but not own, whatever the owner will make.

    Only defaults for new tables are granted, so that a migration may take a right away for good (the audit trail).
    """
    app, schema = sql.Identifier(app_role), sql.SQL("SCHEMA public")
    tables, sequences = sql.SQL("SELECT, INSERT, UPDATE, DELETE"), sql.SQL("USAGE, SELECT")
    with psycopg.connect(plain_url(owner_url)) as connection:
        for statement in (
            sql.SQL("GRANT USAGE ON {1} TO {0}").format(app, schema),
            sql.SQL("ALTER DEFAULT PRIVILEGES IN {1} GRANT {2} ON TABLES TO {0}").format(app, schema, tables),
            sql.SQL("ALTER DEFAULT PRIVILEGES IN {1} GRANT {2} ON SEQUENCES TO {0}").format(app, schema, sequences),
            sql.SQL("ALTER DEFAULT PRIVILEGES IN {1} GRANT EXECUTE ON FUNCTIONS TO {0}").format(app, schema),
        ):
            connection.execute(statement)


def revisions(config: Config) -> tuple[str | None, str | None]:
    """Give the revision the database has and the one this release needs."""
    engine = create_engine(config.database_url)
    with engine.connect() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    engine.dispose()
    return present, ScriptDirectory(str(MIGRATIONS_DIR)).get_current_head()


def plain_url(url: str) -> str:
    """Give a database address as psycopg itself takes it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
