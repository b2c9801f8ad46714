"""Calls that were not what they claimed to be: noted among the security events, a few of a kind a minute, so that a flood of them fills no table.

What one process left out is summed up in one row when a later minute has its first; the counters at /metrics know them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from uuid import UUID

from sqlalchemy.orm import Session

from widget_backend import clock
from widget_backend.accounts.models import SecurityEvent

A_MINUTE = 5
"""Rows of one kind (owner and reason) in a minute, for one process."""
KINDS = 200
"""Kinds in a minute, for one process."""


@dataclass(frozen=True, slots=True)
class _Kind:
    owner_id: UUID
    end_id: UUID | None
    adapter: str
    why: str


_counts: dict[_Kind, int] = {}
_left_out: dict[_Kind, int] = {}
_minute = 0
_lock = Lock()


def note(
    session: Session, owner_id: UUID, *, adapter: str, why: str, remote_address: str, end_id: UUID | None = None
) -> bool:
    """Note one forged call at the door of an end or an app; False when this minute has enough of its kind."""
    summed_up = _count(_Kind(owner_id, end_id, adapter, why))
    if summed_up is None:
        return False
    for kind, count in summed_up.items():
        session.add(SecurityEvent(end_id=kind.end_id, adapter=kind.adapter, why=f"{kind.why}: {count} more"))
    session.add(SecurityEvent(end_id=end_id, adapter=adapter, why=why, remote_address=remote_address))
    return True


def _count(kind: _Kind) -> dict[_Kind, int] | None:
    """Count one of a kind; return what earlier minutes left out and is to be summed up now, None when this one is left out itself."""
    global _minute, _left_out
    minute = int(clock.monotonic() // 60)
    with _lock:
        if minute != _minute:
            _minute, _left_out = minute, {one: count - A_MINUTE for one, count in _counts.items() if count > A_MINUTE}
            _counts.clear()
        if kind not in _counts and len(_counts) >= KINDS:
            return None
        _counts[kind] = _counts.get(kind, 0) + 1
        if _counts[kind] > A_MINUTE:
            return None
        summed_up, _left_out = _left_out, {}
        return summed_up
