"""Keeps programs running: supervisor (the library) with a settings file made here, spoken to over its own socket.

docs/decisions/0002-supervisor.md says why this one and what is added to it.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from widget_backend import processes

ROOT = Path(__file__).resolve().parent.parent
HEAL_S = 5.0
_MAX_SOCKET_PATH = 85  # of the 107 the kernel allows, less what supervisor appends while it binds


class SupervisionError(Exception):
    """Say why the programs cannot be kept running."""


@dataclass(frozen=True, slots=True)
class Program:
    """One process to keep running. Order: lower numbers start earlier and stop later."""

    name: str
    command: Sequence[str]
    order: int
    stop_signal: str = "TERM"
    stop_wait_s: int = 10


class Supervision:
    """Holds one supervisord and what it runs."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.socket = _socket_path(var)
        self._programs: list[Program] = []
        self._daemon: subprocess.Popen[bytes] | None = None
        self._healed_at = 0.0

    def start(self, programs: Sequence[Program], *, wait_s: float = 20) -> None:
        """Start supervisord with the first programs."""
        for folder in ("run", "log"):
            (self.var / folder).mkdir(parents=True, exist_ok=True)
        self._programs = list(programs)
        settings = self._write()
        with (self.var / "log" / "supervisord.out").open("wb") as output:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us: we stop the programs in their order
                preexec_fn=lambda: processes.die_with_parent(signal.SIGTERM),
            )
        deadline = time.monotonic() + wait_s
        while not self.answers():
            if time.monotonic() > deadline or self._daemon.poll() is not None:
                said = (self.var / "log" / "supervisord.out").read_text(errors="replace")
                raise SupervisionError(f"supervisord did not start:\n{said}")
            time.sleep(0.05)

    def add(self, programs: Sequence[Program]) -> None:
        """Start further programs beside those that run."""
        self._programs += programs
        self._write()
        self._call("reloadConfig")
        for program in sorted(programs, key=lambda program: program.order):
            self._call("addProcessGroup", program.name)

    def answers(self) -> bool:
        """Say whether supervisord answers."""
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except SupervisionError:
            return False

    def pids(self) -> dict[str, int]:
        """Give the process ids by program; one that is just being restarted is left out."""
        return {item["name"]: item["pid"] for item in self._call("getAllProcessInfo") if item["pid"]}

    def restart(self, prefixes: tuple[str, ...]) -> None:
        """Stop and start the programs whose names begin so, one after the other; one that is down stays so for now."""
        for item in self._call("getAllProcessInfo"):
            if item["name"].startswith(prefixes) and item["statename"] == "RUNNING":
                self._call("stopProcess", item["name"])
                self._call("startProcess", item["name"], False)

    def heal(self) -> None:
        """Start again what supervisor has given up on: it stops trying after a few quick deaths, we never do.

        Raises: SupervisionError when supervisord itself is gone.
        """
        if self._daemon is not None and self._daemon.poll() is not None:
            raise SupervisionError("supervisord has ended; see supervisord.log in the var folder")
        if time.monotonic() - self._healed_at < HEAL_S:
            return
        self._healed_at = time.monotonic()
        for item in self._call("getAllProcessInfo"):
            if item["statename"] in {"FATAL", "EXITED", "UNKNOWN"}:
                self._call("startProcess", item["name"], False)

    def stop(self) -> None:
        """Stop everything in order; whatever does not go is killed."""
        if self._daemon is not None:
            self._daemon.terminate()
            try:
                self._daemon.wait(sum(program.stop_wait_s for program in self._programs) + 10)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
        end_leftovers(self.var)

    def _call(self, method: str, *arguments: Any) -> Any:
        proxy = ServerProxy("http://local", transport=SupervisorTransport(serverurl=f"unix://{self.socket}"))
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, Fault) as error:
            raise SupervisionError(f"supervisord refused {method}: {error}") from error

    def _write(self) -> Path:
        path = self.var / "run" / "supervisord.conf"
        path.touch(mode=0o600)
        path.write_text(_settings_text(self.var, self.socket, self._programs))
        return path


def end_leftovers(var: Path, *, wait_s: float = 10) -> int:
    """End what a killed supervisord left behind, the supervised programs and their children; give their number.

    Supervised processes know their supervisor by an environment variable, which their children inherit.
    """
    address = f"unix://{_socket_path(var)}"

    def is_ours(process: psutil.Process) -> bool:
        return process.pid != os.getpid() and process.environ().get("SUPERVISOR_SERVER_URL") == address

    settings = str(var / "run" / "supervisord.conf")
    daemons = processes.find(lambda process: settings in process.cmdline() and "supervisor" in str(process.cmdline()))
    processes.end(daemons, wait_s=wait_s)
    left = processes.find(is_ours)
    processes.end(left, wait_s=wait_s)
    _socket_path(var).unlink(missing_ok=True)
    return len(left) + len(daemons)


def _socket_path(var: Path) -> Path:
    plain = var / "run" / "supervisor.sock"
    if len(str(plain)) <= _MAX_SOCKET_PATH:
        return plain
    return Path("/tmp") / f"mostik-{os.geteuid()}-{sha256(str(var).encode()).hexdigest()[:16]}.sock"


def _settings_text(var: Path, socket: Path, programs: Sequence[Program]) -> str:
    log = var / "log"
    lines = ["; made anew at every start", "[supervisord]", f"logfile={log}/supervisord.log", "logfile_maxbytes=5MB"]
    lines += [f"pidfile={var}/run/supervisord.pid", "nodaemon=true", "minfds=4096"]
    if os.geteuid() == 0:
        lines.append("user=root")
    lines += ["[unix_http_server]", f"file={socket}", "chmod=0600"]
    lines += ["[supervisorctl]", f"serverurl=unix://{socket}"]
    lines += ["[rpcinterface:supervisor]"]
    lines += ["supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface"]
    for program in programs:
        lines += [f"[program:{program.name}]", f"command={_escaped(shlex.join(program.command))}"]
        lines += [f"directory={ROOT}", f"priority={program.order}"]
        lines += ["autostart=true", "autorestart=true", "startsecs=1", "startretries=3"]
        lines += [f"stopsignal={program.stop_signal}", f"stopwaitsecs={program.stop_wait_s}", "killasgroup=true"]
        lines += ["redirect_stderr=true", f"stdout_logfile={log}/{program.name}.log"]
        lines += ["stdout_logfile_maxbytes=20MB", "stdout_logfile_backups=3"]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
