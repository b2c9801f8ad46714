"""Fixtures that nearly every test needs: the application on real engines, cleaned after each test.

The embedded PostgreSQL and Valkey are started once a session, on first use, in a folder of their own; with DATABASE_URL,
MOSTIK_DATABASE_OWNER_URL and REDIS_URL given, those are used instead (the database's name must contain "test").
"""

import base64
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_client
from flask import Flask
from psycopg import sql
from sqlalchemy.engine import make_url

from widget_backend import create_app, engines, local_secrets, processes
from widget_backend.config import Config
from widget_backend.database import migrate_schema, plain_url
from widget_backend.extensions import db as database

# speed is worth more than safety here: the data of a test run dies with it
FAST = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "shared_buffers=64MB")
TEST_KEY = "test:" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


@pytest.fixture(scope="session")
def var() -> Iterator[Path]:
    """Give a folder for the engines that the unprivileged user of PostgreSQL can reach."""
    folder = Path(tempfile.mkdtemp(prefix="mostik-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def engine_settings(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Give the addresses of the engines: those given from outside, or embedded ones started here."""
    names = ("DATABASE_URL", "MOSTIK_DATABASE_OWNER_URL", "REDIS_URL")
    if "DATABASE_URL" in os.environ:
        if "test" not in (make_url(os.environ["DATABASE_URL"]).database or ""):
            pytest.exit("DATABASE_URL names no test database: every test empties its tables", returncode=2)
        yield {name: os.environ[name] for name in names}
        return
    folder: Path = request.getfixturevalue("var")
    postgres, valkey = engines.prepare_postgres(folder, "nobody"), engines.prepare_valkey(folder)
    started = [
        _start([*engines.postgres_command(folder, "nobody"), *FAST], folder / "postgres.log", unprivileged=True),
        _start([*engines.valkey_command(folder), "--appendfsync", "no"], folder / "valkey.log"),
    ]
    try:
        engines.wait_postgres(postgres)
        engines.wait_valkey(valkey)
        engines.ensure_roles(postgres)
        addresses = (postgres.url(local_secrets.APP_ROLE), postgres.url(local_secrets.OWNER_ROLE), valkey.url())
        yield dict(zip(names, addresses, strict=True))
    finally:
        engines.stop_postgres(folder, "nobody")
        for process in started:
            process.terminate()
            process.wait()


@pytest.fixture(scope="session")
def config(engine_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Give the settings of the tests' application; nothing of the caller's environment is in them."""
    return Config.from_env(
        {
            **engine_settings,
            "MOSTIK_VAR": str(tmp_path_factory.mktemp("var")),
            "MOSTIK_KEYS": TEST_KEY,
            "MOSTIK_SECRET_KEY": "a signing key that is used by tests only",
            "MOSTIK_PUBLIC_URL": "https://mostik.test",
            "MOSTIK_OUTSIDE_PRIVATE_HOSTS": "127.0.0.1",
        }
    )


@pytest.fixture(scope="session")
def app(config: Config) -> Flask:
    """Give the application on a migrated database."""
    migrate_schema(config)
    app = create_app(config)
    app.config["TESTING"] = True
    return app


@pytest.fixture
def db(app: Flask, config: Config) -> Iterator[Any]:
    """Give the database inside an application context; every table is empty again afterwards."""
    with app.app_context():
        yield database
        database.session.remove()
    _empty(config.database_owner_url)


@pytest.fixture
def redis(config: Config) -> Iterator["redis_client.Redis"]:
    """Give an empty Valkey."""
    with redis_client.Redis.from_url(config.redis_url) as client:
        client.flushdb()
        yield client
        client.flushdb()


def _start(command: list[str], log: Path, *, unprivileged: bool = False) -> "subprocess.Popen[bytes]":
    """Start an engine that ends with the test run, however that ends."""

    def prepare() -> None:
        if unprivileged:
            engines.drop_root("nobody")
        processes.die_with_parent()

    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=prepare, cwd="/")


def _empty(owner_url: str) -> None:
    """Empty every table but the one that says which migrations have run."""
    list_tables = """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
          AND relname <> 'alembic_version'
    """
    with psycopg.connect(plain_url(owner_url)) as connection:
        tables = [sql.Identifier(name) for (name,) in connection.execute(list_tables)]
        if tables:
            connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(sql.SQL(", ").join(tables)))
