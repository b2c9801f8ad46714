"""The embedded engines: started, killed, started again, stopped."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from widget_backend import backup, engines, local_secrets
from widget_backend.config import Config
from widget_backend.local_secrets import APP_ROLE, OWNER_ROLE, PostgresSecrets

USER = "nobody"


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="mostik-engines-"))
    made.chmod(0o755)
    local_secrets.ensure_keys(made)
    yield made
    engines.stop_postgres(made, USER)
    data = engines.postgres_data(made, USER)
    if data.parent != made:
        shutil.rmtree(data.parent)
    shutil.rmtree(made)


def start(folder: Path, name: str = "postgres") -> "subprocess.Popen[bytes]":
    """Start an engine the way the supervisor does."""
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "widget_backend.engines", name],
            env={"PATH": os.environ["PATH"], "MOSTIK_VAR": str(folder)},
            stdout=log,
            stderr=log,
        )


def started_postgres(folder: Path) -> tuple["subprocess.Popen[bytes]", PostgresSecrets]:
    secrets = engines.prepare_postgres(folder, USER)
    engines.prepare_valkey(folder)
    process = start(folder)
    engines.wait_postgres(secrets)
    engines.ensure_roles(secrets)
    return process, secrets


def test_postgres_survives_sigkill_with_its_data_and_stops_cleanly(folder: Path) -> None:
    process, secrets = started_postgres(folder)
    with psycopg.connect(secrets.url(OWNER_ROLE)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    process.send_signal(signal.SIGKILL)
    process.wait()

    again = start(folder)
    engines.wait_postgres(secrets)
    with psycopg.connect(secrets.url(OWNER_ROLE)) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    engines.stop_postgres(folder, USER)

    assert again.wait(10) == 0
    assert not (engines.postgres_data(folder, USER) / "postmaster.pid").exists()


def test_stale_pid_file_of_a_foreign_process_is_no_obstacle(folder: Path) -> None:
    process, secrets = started_postgres(folder)
    process.send_signal(signal.SIGKILL)
    process.wait()
    pid_file = engines.postgres_data(folder, USER) / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    again = start(folder)
    engines.wait_postgres(secrets)
    engines.stop_postgres(folder, USER)

    assert again.wait(10) == 0


def test_roles_have_no_power_they_do_not_need(folder: Path) -> None:
    _, secrets = started_postgres(folder)
    with psycopg.connect(secrets.url("postgres")) as connection:
        rows = connection.execute(
            "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname IN (%s, %s)", (APP_ROLE, OWNER_ROLE)
        ).fetchall()

    assert sorted(rows) == [(APP_ROLE, False, False), (OWNER_ROLE, False, False)]
    with psycopg.connect(secrets.url(APP_ROLE)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE TABLE mine (one int)")


def test_wrong_password_is_refused(folder: Path) -> None:
    _, secrets = started_postgres(folder)

    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(secrets.url(APP_ROLE).replace(secrets.app_password, "wrong"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another user")
def test_folder_closed_to_others_is_no_obstacle_for_root(folder: Path) -> None:
    folder.chmod(0o700)

    process, _ = started_postgres(folder)

    assert psutil.Process(process.pid).username() == USER
    assert (folder / "postgres").resolve().is_relative_to("/var/lib/mostik")


def test_restore_brings_the_database_back_as_it_was(folder: Path) -> None:
    _, secrets = started_postgres(folder)
    config = Config.from_env({"MOSTIK_VAR": str(folder)})
    with psycopg.connect(secrets.url(OWNER_ROLE)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    backup.backup(config, folder / "dump")
    with psycopg.connect(secrets.url(OWNER_ROLE)) as connection:
        connection.execute("DELETE FROM kept")
    engines.stop_postgres(folder, USER)

    backup.restore(config, folder / "dump")

    start(folder)
    engines.wait_postgres(secrets)
    with psycopg.connect(secrets.url(OWNER_ROLE)) as connection:
        assert connection.execute("SELECT one FROM kept").fetchall() == [(1,)]


def test_engine_that_does_not_answer_is_told(folder: Path) -> None:
    secrets = engines.prepare_postgres(folder, USER)

    with pytest.raises(engines.EngineError, match="does not answer"):
        engines.wait_postgres(secrets, wait_s=0.1)


def test_taken_port_is_exchanged_and_passwords_stay(folder: Path) -> None:
    first = local_secrets.ensure_valkey(folder, running=False)
    with socket.create_server(("127.0.0.1", first.port)):
        second = local_secrets.ensure_valkey(folder, running=False)

    assert second.port != first.port and second.password == first.password
