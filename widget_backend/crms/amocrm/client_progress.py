"""How far an earlier try of one message came, so that the next goes on from there and spends none of the limit on what is done.

A step notes that it is tried before it asks amoCRM and what came of it after: only one without an answer has to be searched for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from widget_backend import short_memory
from widget_backend.bridge.ends import Item
from widget_backend.bridge.errors import Rejected, Retry

KEPT_FOR = timedelta(days=1)
UNKNOWN = "?"
"""It was tried and nobody knows whether it was done; also when we cannot know whether it was tried. Behind it stands what it was tried with."""


def of(item: Item, step: str) -> str:
    """Return what an earlier try made in a step; empty when it did not come so far."""
    if item.started_at is None:
        return ""
    return short_memory.recall(_name(item, step), unreachable=UNKNOWN)


@contextmanager
def trying(item: Item, step: str, what: str = "") -> Iterator[None]:
    """Note that a step is tried now, and with `what`; what surely was not accepted was not tried."""
    made(item, step, f"{UNKNOWN}{what}")
    try:
        yield
    except (Retry, Rejected):
        made(item, step, "")
        raise


def made(item: Item, step: str, id: str) -> None:
    """Note what a step made."""
    short_memory.remember(_name(item, step), id, KEPT_FOR)


def _name(item: Item, step: str) -> str:
    return f"amocrm:{step}:{item.key}"
