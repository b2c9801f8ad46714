"""The only reader of time.

Everything that asks what time it is, how long something took, or waits, asks here, so that tests can move time.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

_shift = timedelta(0)


def now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC) + _shift


def monotonic() -> float:
    """Return a reading for measuring durations; it never goes back.

    Units: seconds.
    """
    return time.monotonic() + _shift.total_seconds()


def sleep(duration: timedelta) -> None:
    """Wait for a real duration; a negative one is no wait."""
    time.sleep(max(duration.total_seconds(), 0.0))


@contextmanager
def shifted(by: timedelta) -> Iterator[None]:
    """Move the time of this process by a duration while the block runs; shifts add up when nested."""
    global _shift
    before = _shift
    _shift = before + by
    try:
        yield
    finally:
        _shift = before
