"""The one table of moves between the statuses of a delivery; nothing else may change a status."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Statuses of a delivery, towards a CRM and towards a network."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    FILTERED = "filtered"
    DISCARDED = "discarded"
    DROPPED = "dropped"
    SENT = "sent"
    RECEIVED = "received"
    READ = "read"
    FAILED = "failed"
    EXPIRED = "expired"
    UNCERTAIN = "uncertain"


S = Status

TO_CRM: dict[Status, frozenset[Status]] = {
    S.QUEUED: frozenset({S.DELIVERED, S.FILTERED, S.DISCARDED, S.DROPPED, S.FAILED, S.UNCERTAIN}),
    S.UNCERTAIN: frozenset({S.DELIVERED, S.FAILED, S.QUEUED}),
    S.FAILED: frozenset({S.DELIVERED, S.QUEUED}),
    S.FILTERED: frozenset({S.QUEUED}),
    S.DROPPED: frozenset({S.QUEUED}),
    S.DISCARDED: frozenset(),
    S.DELIVERED: frozenset(),
}

TO_NETWORK: dict[Status, frozenset[Status]] = {
    S.QUEUED: frozenset({S.SENT, S.RECEIVED, S.READ, S.DISCARDED, S.FAILED, S.EXPIRED, S.UNCERTAIN}),
    S.UNCERTAIN: frozenset({S.SENT, S.RECEIVED, S.READ, S.FAILED, S.QUEUED}),
    S.SENT: frozenset({S.RECEIVED, S.READ, S.FAILED}),
    S.RECEIVED: frozenset({S.READ}),
    S.READ: frozenset(),
    S.FAILED: frozenset({S.SENT, S.RECEIVED, S.READ, S.QUEUED}),
    S.EXPIRED: frozenset({S.SENT, S.RECEIVED, S.READ, S.QUEUED}),
    S.DISCARDED: frozenset(),
}

SETTLED: frozenset[Status] = frozenset(S) - {S.QUEUED}
"""What ends a delivery's turn in its lane."""


def may_move(table: dict[Status, frozenset[Status]], now: Status, then: Status) -> bool:
    """Tell whether a delivery may go from `now` to `then`."""
    return then in table.get(now, frozenset())
