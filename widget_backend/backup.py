"""Backup and restore of the database with PostgreSQL's own tools, of the embedded version where it is installed."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from widget_backend import engines, processes
from widget_backend.config import Config
from widget_backend.database import plain_url
from widget_backend.local_secrets import OWNER_ROLE, read_postgres


class BackupError(Exception):
    """Say why a backup or a restore did not happen, with the cure."""


def backup(config: Config, file: Path) -> None:
    """Write the whole database into one file; the server may run meanwhile."""
    _call("pg_dump", "--format=custom", f"--file={file}", f"--dbname={plain_url(config.database_owner_url)}")
    file.chmod(0o600)


def restore(config: Config, file: Path) -> None:
    """Put the database back as it was in a backup, all of it or nothing; the server must not run."""
    if not file.exists():
        raise BackupError(f"{file} is not there")
    with _database_alone(config):
        target = f"--dbname={plain_url(config.database_owner_url)}"
        _call("pg_restore", "--clean", "--if-exists", "--no-owner", "--single-transaction", target, str(file))


@contextmanager
def _database_alone(config: Config) -> Iterator[None]:
    """Run the embedded PostgreSQL without anything beside it; a database of the owner's own is up already."""
    secrets = read_postgres(config.var_dir)
    if secrets is None or plain_url(config.database_owner_url) != secrets.url(OWNER_ROLE):
        yield
        return
    user = config.postgres_user
    with (config.var_dir / "restore.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "widget_backend.engines", "postgres"],
            env={"MOSTIK_VAR": str(config.var_dir), "MOSTIK_POSTGRES_USER": user},
            stdout=log,
            stderr=log,
            preexec_fn=processes.die_with_parent,
        )
    try:
        engines.wait_postgres(secrets)
        engines.ensure_roles(secrets)
        yield
    finally:
        engines.stop_postgres(config.var_dir, user)
        server.wait()


def _call(tool: str, *arguments: str) -> None:
    program = engines.installed_tool(tool) or shutil.which(tool)
    if program is None:
        raise BackupError(f"{tool} is not there: apt-get install postgresql-client")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupError(f"{tool} failed:\n{done.stderr}")
