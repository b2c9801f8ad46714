"""What this process works with: its settings, its database engine, its Valkey. Set once at start; the bridge needs no Flask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis import Redis
from sqlalchemy import Engine

if TYPE_CHECKING:
    from widget_backend.config import Config


@dataclass(frozen=True, slots=True)
class Runtime:
    """Settings and connections of one process."""

    config: Config
    engine: Engine
    redis: Redis


_runtime: Runtime | None = None


def configure(config: Config, engine: Engine, redis: Redis) -> None:
    """Set what this process works with."""
    global _runtime
    _runtime = Runtime(config, engine, redis)


def get() -> Runtime:
    """Return what this process works with."""
    assert _runtime is not None, "runtime.configure has not run"
    return _runtime
