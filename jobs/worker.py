"""A worker process: `python -m jobs.worker exchange|schedules`. Long-lived, jobs run inside it; a stop finishes the calls that are out."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any

import rq
import structlog
from redis import RedisError
from sqlalchemy import func, update
from sqlalchemy.exc import DBAPIError

from jobs import exchange, queues
from widget_backend import create_app, ids
from widget_backend.bridge import runtime
from widget_backend.bridge.models import Worker as WorkerRecord
from widget_backend.bridge.tenancy import transaction
from widget_backend.config import Config

log = structlog.get_logger()

RESTART_S = 1.0


class Worker(rq.SimpleWorker):
    """RQ's worker that runs jobs in its own process: 2 ms from wake-up to work."""

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Begin to stop: the exchange finishes its calls and gives back its leases."""
        exchange.stopping.set()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


class Heartbeat(threading.Thread):
    """Says in the database that this process lives, and so do the fetches and pulls that it has begun."""

    def __init__(self, kind: str) -> None:
        super().__init__(name="alive", daemon=True)
        self.kind = kind
        self.id = ids.new_id()

    def run(self) -> None:
        """Beat for ever; a database that is away is waited for."""
        while True:
            try:
                self.beat()
                exchange.keep_slow()
            except DBAPIError as error:
                log.warning("heartbeat_failed", error=type(error).__name__)
            time.sleep(runtime.get().config.heartbeat_s)

    def beat(self) -> None:
        """Write one heartbeat."""
        with transaction(None) as session:
            alive = session.execute(update(WorkerRecord).where(WorkerRecord.id == self.id).values(beat_at=func.now()))
            if not getattr(alive, "rowcount", 0):
                session.add(WorkerRecord(id=self.id, kind=self.kind, host=socket.gethostname(), pid=os.getpid()))


def main(kind: str) -> None:
    """Work one queue until told to stop; Valkey that goes away is waited for."""
    config = Config.from_env()
    with create_app(config, pool_size=config.exchange_pool_size, pre_ping=False).app_context():
        Heartbeat(kind).start()
        while not exchange.stopping.is_set():
            try:
                work(kind)
            except RedisError as error:
                log.warning("worker_lost_valkey", error=type(error).__name__)
                time.sleep(RESTART_S)


def work(kind: str, **options: Any) -> None:
    """Run RQ's loop over one queue."""
    worker = Worker([queues.queue(kind)], connection=runtime.get().redis, serializer="json")
    worker.log.setLevel("WARNING")
    worker.work(logging_level="WARNING", with_scheduler=False, **options)


if __name__ == "__main__":
    main(sys.argv[1])
    exchange.leave()
