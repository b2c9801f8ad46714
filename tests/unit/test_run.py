"""A whole server: what is killed comes back, and stopping leaves nothing."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import redis

from widget_backend import engines, local_secrets, processes, run
from widget_backend.supervision import ROOT, Supervision, end_leftovers

pytestmark = pytest.mark.slow


def wait_until(holds: Callable[[], bool], what: str, *, wait_s: float = 40) -> None:
    deadline = time.monotonic() + wait_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {wait_s} s: {what}"
        time.sleep(0.1)


def environment(var: Path) -> dict[str, str]:
    names = ("PATH", "HOME", "LANG")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "MOSTIK_VAR": str(var), "MOSTIK_WEB_PORT": "0", "MOSTIK_EXCHANGE_WORKERS": "1"}


def start(var: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.unit.run_stand_in"]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(var), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def announced(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return dict(json.loads(line))


def left_over(var: Path) -> list[psutil.Process]:
    address, data = f"unix://{Supervision(var).socket}", str(var / "postgres")
    return processes.find(
        lambda process: process.cwd() == data or process.environ().get("SUPERVISOR_SERVER_URL") == address
    )


@pytest.fixture
def var() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mostik-run-"))
    folder.chmod(0o755)
    yield folder
    run.stop(folder)
    shutil.rmtree(folder)


def answers(web: str) -> bool:
    try:
        with socket.create_connection((urlsplit(web).hostname, urlsplit(web).port or 80), timeout=2) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def test_each_process_comes_back_after_sigkill_and_stop_leaves_nothing(var: Path) -> None:
    server = start(var)
    started = announced(server)
    names = {"postgres", "valkey", "web", "exchange-1", "schedules", "cron"}
    assert set(started["pids"]) == names | {"run"}
    supervision = Supervision(var)

    for name in sorted(names):
        os.kill(started["pids"][name], signal.SIGKILL)
    wait_until(
        lambda: all(supervision.pids().get(name, 0) not in {0, started["pids"][name]} for name in names),
        "every program has a new process",
    )
    postgres, valkey = local_secrets.read_postgres(var), local_secrets.read_valkey(var)
    assert postgres is not None and valkey is not None
    engines.wait_postgres(postgres)
    engines.wait_valkey(valkey)
    wait_until(lambda: answers(started["web"]), "the web server answers")

    assert run.stop(var)
    assert server.wait(20) == 0
    assert left_over(var) == []


def test_second_server_on_the_same_folder_says_that_one_is_running(var: Path) -> None:
    first = start(var)
    announced(first)

    second = start(var)
    _, said = second.communicate(timeout=30)

    assert second.returncode == 1
    assert "already running" in said and str(first.pid) in said
    first.send_signal(signal.SIGINT)
    assert first.wait(40) == 0
    assert left_over(var) == []


def test_what_a_killed_server_leaves_ends_by_itself_and_the_next_one_starts(var: Path) -> None:
    first = start(var)
    started = announced(first)
    supervisor = psutil.Process(started["pids"]["web"]).parent()
    assert supervisor is not None
    supervisor.kill()
    first.kill()
    first.wait()

    second = start(var)
    again = announced(second)
    assert not {started["pids"]["web"], started["pids"]["postgres"]} & {again["pids"]["web"], again["pids"]["postgres"]}
    second.terminate()
    assert second.wait(40) == 0
    assert left_over(var) == []


def test_queue_keeps_what_it_was_told_across_a_sigkill(var: Path) -> None:
    server = start(var)
    started = announced(server)
    valkey = local_secrets.read_valkey(var)
    assert valkey is not None
    with redis.Redis.from_url(valkey.url()) as client:
        client.set("kept", "yes")
        wait_until(lambda: client.info("persistence")["aof_last_write_status"] == "ok", "written")
        time.sleep(1.1)  # appendfsync everysec: the unit of what may be lost
        os.kill(started["pids"]["valkey"], signal.SIGKILL)
        engines.wait_valkey(valkey)
        assert client.get("kept") == b"yes"
    server.terminate()
    assert server.wait(40) == 0
    assert end_leftovers(var) == 0


def test_rotation_beside_a_running_server_leaves_one_new_key_and_new_processes(var: Path) -> None:
    server = start(var)
    started = announced(server)
    before = local_secrets.read_ring(var)

    command = [sys.executable, "-m", "widget_backend.cli", "keys", "rotate"]
    subprocess.run(command, cwd=ROOT, env=environment(var), check=True, capture_output=True, timeout=60)

    after = local_secrets.read_ring(var)
    assert len(after) == 1 and after != before
    wait_until(lambda: answers(started["web"]), "the web server answers again")
    assert Supervision(var).pids()["web"] != started["pids"]["web"]
    server.terminate()
    assert server.wait(40) == 0
