"""What a server consists of: the processes that `mostik run` keeps running."""

import sys

from widget_backend.config import Config
from widget_backend.supervision import Program

ENGINES, WEB, WORKERS = 100, 300, 400  # the order of starting; stopping goes the other way


def engine_programs(*, postgres: bool, valkey: bool) -> list[Program]:
    """Give the embedded engines that are used."""
    names = [name for name, used in (("postgres", postgres), ("valkey", valkey)) if used]
    # PostgreSQL takes SIGINT for a fast shutdown; SIGTERM would wait for every client to leave
    signals = {"postgres": "INT", "valkey": "TERM"}
    return [
        Program(
            name=name,
            command=[sys.executable, "-m", "widget_backend.engines", name],
            order=ENGINES,
            stop_signal=signals[name],
            stop_wait_s=30,
        )
        for name in names
    ]


def server_programs(config: Config) -> list[Program]:
    """Give web, workers and cron."""
    web = [sys.executable, "-m", "gunicorn", "-c", "python:widget_backend.web_server", "wsgi:app"]
    exchange = [
        _worker(f"exchange-{number}", ["jobs.worker", "exchange"], wait_s=config.slice_s + 10)
        for number in range(1, config.exchange_workers + 1)
    ]
    return [
        Program(name="web", command=web, order=WEB, stop_wait_s=25),
        *exchange,
        _worker("schedules", ["jobs.worker", "schedules"], wait_s=20),
        _worker("cron", ["jobs.cron"], wait_s=10),
    ]


def _worker(name: str, module: list[str], *, wait_s: int) -> Program:
    command = [sys.executable, "-m", *module]
    return Program(name=name, command=command, order=WORKERS, stop_wait_s=wait_s)
