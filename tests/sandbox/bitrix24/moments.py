"""How moments look in answers."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(at: float) -> str:
    """Give a moment in ATOM form."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def clocked(began: float, taken: float) -> dict[str, object]:
    """Give the `time` of an answer (bitrix24.md 2)."""
    return {
        "start": began,
        "finish": began + taken,
        "duration": taken,
        "processing": taken,
        "date_start": moment(began),
        "date_finish": moment(began + taken),
    }
