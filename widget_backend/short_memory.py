"""Small facts that all processes remember for a while, in Valkey: losing them costs time, never a message."""

from __future__ import annotations

from datetime import timedelta

import structlog
from redis import RedisError

from widget_backend.bridge import runtime

log = structlog.get_logger()


def remember(name: str, value: str, lasting: timedelta) -> None:
    """Remember a fact, over what was known under its name."""
    try:
        runtime.get().redis.set(_key(name), value, px=max(int(lasting.total_seconds() * 1000), 1))
    except RedisError as error:
        log.warning("memory_unreachable", error=type(error).__name__)


def recall(name: str, *, unreachable: str = "") -> str:
    """Return a fact, empty when it is not known; `unreachable`: what to say when nobody can tell."""
    try:
        told = runtime.get().redis.get(_key(name))
    except RedisError as error:
        log.warning("memory_unreachable", error=type(error).__name__)
        return unreachable
    return told.decode() if isinstance(told, bytes) else str(told or "")


def forget(name: str) -> None:
    """Forget a fact."""
    try:
        runtime.get().redis.delete(_key(name))
    except RedisError as error:
        log.warning("memory_unreachable", error=type(error).__name__)


def _key(name: str) -> str:
    return f"mostik:memory:{name}"
