"""Starts a whole server and keeps it running until it is told to stop: `mostik run` and `mostik demo`."""

import fcntl
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from widget_backend import config as settings
from widget_backend import demo, engines, local_secrets, programs
from widget_backend.bridge import registry
from widget_backend.config import Config
from widget_backend.database import migrate_schema
from widget_backend.supervision import Program, Supervision, end_leftovers


class RunError(Exception):
    """Say why the server cannot start, with the cure."""


class _Stopped(BaseException):
    """Somebody asked us to stop: a signal turned into an exception, so that everything is put away in one place."""


@dataclass(frozen=True, slots=True)
class Started:
    """What runs once everything answers."""

    web: str
    pids: dict[str, int]
    login: dict[str, str] = field(default_factory=dict)
    deal: str = ""
    peers: dict[str, Any] = field(default_factory=dict)


Server = Callable[[Config], list[Program]]


def run(
    announce: Callable[[Started], None],
    *,
    with_demo: bool = False,
    after_restore: bool = False,
    server: Server = programs.server_programs,
) -> None:
    """Start everything, announce it, keep it running; return when told to stop and nothing is left running.

    Raises: RunError, ConfigError, EngineError, SupervisionError, DemoError when it cannot start.
    """
    var = settings.var_dir()
    with only_one(var), _stoppable():
        end_leftovers(var)
        local_secrets.write_started(var, {})
        supervision = Supervision(var)
        try:
            started = _start(supervision, server, with_demo=with_demo, after_restore=after_restore)
            announce(started)
            while True:
                supervision.heal()
                time.sleep(0.5)
        except _Stopped:
            pass
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            supervision.stop()
            local_secrets.write_started(var, {})
            if "DATABASE_URL" not in os.environ:
                engines.stop_postgres(var, settings.postgres_user())


def stop(var: Path, *, wait_s: float = 120) -> bool:
    """Stop the server of a var folder, also what a killed one left behind; say whether there was anything."""
    pid = running_pid(var)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + wait_s
        while running_pid(var) is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.1)
    left = end_leftovers(var)
    if local_secrets.read_postgres(var) is not None:
        engines.stop_postgres(var, settings.postgres_user())
    return pid is not None or left > 0


def running_pid(var: Path) -> int | None:
    """Give the process id of the server that runs on a var folder."""
    path = var / "run" / "lock"
    if not path.exists():
        return None
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0) or None
    return None


def _prepare_metrics(var: Path) -> None:
    """Empty the folder in which the processes add up their counters, and name it to those that will be started."""
    folder = var / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def _start(supervision: Supervision, server: Server, *, with_demo: bool, after_restore: bool) -> Started:
    var = supervision.var
    _prepare_metrics(var)
    first, peers = _first_programs(var, with_demo=with_demo), {}
    config = Config.from_env()
    supervision.start(first)
    _wait_engines(var, [program.name for program in first])
    environ = {"MOSTIK_WEB_PORT": str(_web_port(config, may_move=with_demo))}
    if with_demo:
        peers = demo.read_peers(var / "log" / "sandbox.log")
        environ |= demo.peer_settings(peers, config.outside_private_hosts)
    local_secrets.write_started(var, environ)
    config = Config.from_env()
    migrate_schema(config)
    if after_restore:
        registry.load("widget_backend.bridge.restore:settle_after_restore")(config)
    if with_demo:
        demo.clear(config)
    supervision.add(server(config))
    _wait_web(config)
    seeded = demo.seed(config, peers) if with_demo else {}
    pids = {"run": os.getpid(), **supervision.pids()}
    return Started(
        web=config.public_url, pids=pids, login=seeded.get("login", {}), deal=seeded.get("deal", ""), peers=peers
    )


def _first_programs(var: Path, *, with_demo: bool) -> list[Program]:
    """Prepare what everything else needs: the embedded engines that are used, and the demo's outside world."""
    own_database, own_queue = "DATABASE_URL" not in os.environ, "REDIS_URL" not in os.environ
    if own_database:
        local_secrets.ensure_keys(var)
        engines.prepare_postgres(var, settings.postgres_user())
    if own_queue:
        engines.prepare_valkey(var)
    first = programs.engine_programs(postgres=own_database, valkey=own_queue)
    if with_demo:
        (var / "log" / "sandbox.log").unlink(missing_ok=True)
        first.append(demo.sandbox_program())
    return first


def _wait_engines(var: Path, names: list[str]) -> None:
    if "postgres" in names and (postgres := local_secrets.read_postgres(var)):
        engines.wait_postgres(postgres)
        engines.ensure_roles(postgres)
    if "valkey" in names and (valkey := local_secrets.read_valkey(var)):
        engines.wait_valkey(valkey)


def _web_port(config: Config, *, may_move: bool) -> int:
    if config.web_port and local_secrets.port_is_free(config.web_port):
        return config.web_port
    if config.web_port and not may_move:
        raise RunError(f"port {config.web_port} is taken: set MOSTIK_WEB_PORT to another one, or to 0 for any free one")
    return local_secrets.free_port()


def _wait_web(config: Config, *, wait_s: float = 60) -> None:
    """Wait until the web server answers that it lives."""
    deadline = time.monotonic() + wait_s
    while not _lives("127.0.0.1" if config.web_host == "0.0.0.0" else config.web_host, config.web_port):
        if time.monotonic() > deadline:
            raise RunError(f"the web server does not answer within {wait_s:g} s: see {config.var_dir}/log/web.log")
        time.sleep(0.1)


def _lives(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


@contextmanager
def only_one(var: Path) -> Iterator[None]:
    """Hold the lock of the var folder; the kernel lets it go whatever ends us."""
    path = var / "run" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"a server is already running on {var} (process {running_pid(var)}): `mostik stop` ends it"
            raise RunError(message) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _stoppable() -> Iterator[None]:
    def stop_now(number: int, frame: object) -> None:
        raise _Stopped

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop_now)
    yield


def as_json(started: Started) -> str:
    """Give what runs as one line of JSON."""
    told = {"web": started.web, "login": started.login, "deal": started.deal}
    return json.dumps({**told, "peers": started.peers, "pids": started.pids})
