"""The queues, and how long things live in them: nowhere else."""

from __future__ import annotations

import rq

from widget_backend.bridge import runtime, wake

EXCHANGE = wake.QUEUE
SCHEDULES = "schedules"
NAMES = (EXCHANGE, SCHEDULES)


def queue(name: str) -> rq.Queue:
    """Return a queue whose jobs are JSON."""
    return rq.Queue(name, connection=runtime.get().redis, serializer="json")
