"""The product's processes with one more adapter, the switchboard, and the crash points of `tests.chaos.doomed`.

`python -m tests.bridge.switchboard exchange` is a worker, `tests.bridge.switchboard:web()` the application for gunicorn.
"""

from __future__ import annotations

import sys

from flask import Flask

from tests.chaos import doomed
from widget_backend.bridge import registry, split

ROOM = "tests.bridge.adapters"
COMMANDS = {
    "web": [
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        "python:widget_backend.web_server",
        "tests.bridge.switchboard:web()",
    ],
    "exchange-1": [sys.executable, "-m", "tests.bridge.switchboard", "exchange"],
    "exchange-2": [sys.executable, "-m", "tests.bridge.switchboard", "exchange"],
    "schedules": [sys.executable, "-m", "tests.bridge.switchboard", "schedules"],
}
"""What starts the product with the switchboard."""


def find_switchboard() -> None:
    """Let the registry of this process find the switchboard."""
    registry.ROOMS = (*registry.ROOMS, ROOM)
    _look_anew()


def forget_switchboard() -> None:
    """Let it find what it found before."""
    registry.ROOMS = registry.ROOMS[:-1]
    _look_anew()


def _look_anew() -> None:
    registry._all.cache_clear()
    split.adapters.cache_clear()


def web() -> Flask:
    """Return the application."""
    find_switchboard()
    return doomed.web()


if __name__ == "__main__":
    find_switchboard()
    from jobs import worker

    doomed.doom()
    worker.main(sys.argv[1])
