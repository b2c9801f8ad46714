"""Processes of the product that kill themselves at one crash point of design.md section 2. The product knows nothing of this.

`python -m tests.chaos.doomed exchange` is a worker, `tests.chaos.doomed:web()` the application for gunicorn: the real ones, with one function per crash
point wrapped. A point is armed for one end by the file `<DOOMED_DIR>/<point>.<end id>`; the process that takes the file away dies there by SIGKILL,
so that each arming kills once.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from flask import Flask

import widget_backend  # noqa: F401  (before the rooms it wires)
from oauth import refresh

FOLDER = "DOOMED_DIR"
DURING_S = 0.3
"""How long after a call has left the process dies; the simulated peer takes longer than that to answer."""

REFRESH_LEASE = timedelta(seconds=4)


class When(StrEnum):
    """When the process dies: before the function, while it runs, or after it."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Point:
    """One crash point: a function of the product, by its full name."""

    name: str
    module: str
    function: str
    when: When


POINTS = (
    Point("keep-before", "widget_backend.bridge.keep", "keep", When.BEFORE),
    Point("keep-after", "widget_backend.bridge.keep", "keep", When.AFTER),
    # one part of a body is stored, its transaction is still open
    Point("part-after", "widget_backend.bridge.keep", "put", When.AFTER),
    # the parts are in the inboxes of their ends, nothing is recorded
    Point("read-before", "widget_backend.bridge.inbox", "work", When.BEFORE),
    # the attempts are written and their transaction is still open
    Point("attempt-before", "widget_backend.bridge.deliver", "_open_attempts", When.AFTER),
    Point("attempt-after", "widget_backend.bridge.deliver", "call", When.BEFORE),
    Point("call", "widget_backend.bridge.deliver", "call", When.DURING),
    Point("settle-before", "widget_backend.bridge.outcomes", "settle", When.BEFORE),
    Point("settle-after", "widget_backend.bridge.outcomes", "settle", When.AFTER),
    # the lease of the refresh is committed, nothing has been asked
    Point("refresh-before", "oauth.refresh", "StoredTokens._refresh", When.BEFORE),
    Point("refresh-call", "oauth.refresh", "StoredTokens._refresh", When.DURING),
    # the provider has answered, the new pair is not committed
    Point("refresh-answer", "oauth.refresh", "StoredTokens._settle", When.BEFORE),
    Point("refresh-after", "oauth.refresh", "StoredTokens._settle", When.AFTER),
)


def arm(folder: Path, point: str, end_id: UUID) -> Path:
    """Let the process that next comes to a point on behalf of an end die there; the file is gone once it does."""
    file = folder / f"{point}.{end_id}"
    file.touch()
    return file


def doom() -> None:
    """Wrap the function of every point; let a refresh that nobody finished be taken over in seconds instead of 40."""
    refresh.LEASE = REFRESH_LEASE
    folder = Path(os.environ[FOLDER])
    for point in POINTS:
        holder: Any = importlib.import_module(point.module)
        *classes, name = point.function.split(".")
        for inner in classes:
            holder = getattr(holder, inner)
        setattr(holder, name, _wrapped(folder, point, getattr(holder, name)))


def _wrapped(folder: Path, point: Point, real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def run(*args: Any, **options: Any) -> Any:
        if point.when is When.AFTER:
            result = real(*args, **options)
            if _is_due(folder, point, args):
                _die(point)
            return result
        if _is_due(folder, point, args):
            if point.when is When.BEFORE:
                _die(point)
            threading.Timer(DURING_S, _die, (point,)).start()
        return real(*args, **options)

    return run


def _is_due(folder: Path, point: Point, args: tuple[Any, ...]) -> bool:
    """Take the arming away, if there is one for an end that the arguments name."""
    for arg in args:
        for name in ("end_id", "owner_id", "_end_id", "id"):
            file = folder / f"{point.name}.{getattr(arg, name, '')}"
            try:
                file.unlink()
            except FileNotFoundError:
                continue
            return True
    return False


def _die(point: Point) -> None:
    print(f"dying at {point.name}", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def web() -> Flask:
    """Return the application, doomed."""
    doom()
    application: Flask = importlib.import_module("wsgi").app
    return application


if __name__ == "__main__":
    from jobs import worker

    doom()
    worker.main(sys.argv[1])
