"""Wake-ups: telling the exchange that there is work. A wake-up carries nothing; the truth is in PostgreSQL, and a lost one costs a sweep.

One wake-up runs and at most one waits: its job id is `wake-<generation>`, the job's first act is to raise the generation, the producer reads it
after its commit.
"""

from __future__ import annotations

import threading
import time

import rq
import structlog
from redis import RedisError
from rq.exceptions import DuplicateJobError

from widget_backend.bridge import runtime

QUEUE = "exchange"
GENERATION = "mostik:wake:generation"
JOB = "jobs.exchange.run"
JOB_TIMEOUT_S = 180
COALESCE_S = 0.02
_NOT_QUEUED = """
local generation = redis.call('get', KEYS[1]) or '0'
if redis.call('exists', 'rq:job:wake-' .. generation) == 1 then return false end
return generation
"""
"""One round trip: this is asked fifty times a second while hooks come."""

log = structlog.get_logger()


class _Waker(threading.Thread):
    """One thread per process, so that a hook never waits for Valkey, a burst of hooks makes one wake-up, and one can be set for later."""

    def __init__(self) -> None:
        super().__init__(name="waker", daemon=True)
        self.changed = threading.Event()
        self.wanted = False
        self.due: float | None = None

    def run(self) -> None:
        """Wake for ever; a failure is logged, and the sweep finds the work."""
        while True:
            due = self.due
            self.changed.wait(None if due is None else max(0.0, due - time.monotonic()))
            self.changed.clear()
            is_due = self.due is not None and self.due <= time.monotonic()
            if not self.wanted and not is_due:
                continue  # only the time was set
            self.wanted, self.due = False, None if is_due else self.due
            try:
                wake()
            except RedisError as error:
                log.warning("wake_failed", error=type(error).__name__)
            time.sleep(COALESCE_S)


_waker: _Waker | None = None
_lock = threading.Lock()


def poke() -> None:
    """Ask for a wake-up soon, without waiting."""
    waker = _running()
    waker.wanted = True
    waker.changed.set()


def poke_in(seconds: float) -> None:
    """Ask for a wake-up after a while, or sooner if one is set for sooner."""
    waker, due = _running(), time.monotonic() + seconds
    if waker.due is None or due < waker.due:
        waker.due = due
        waker.changed.set()


def _running() -> _Waker:
    """Return this process's waker; after a fork the child starts its own on first use."""
    global _waker
    waker = _waker
    if waker is None or not waker.is_alive():
        with _lock:
            if _waker is None or not _waker.is_alive():
                _waker = _Waker()
                _waker.start()
            waker = _waker
    return waker


def wake() -> bool:
    """Queue a wake-up unless one of this generation waits already. Raises: RedisError."""
    redis = runtime.get().redis
    generation = redis.eval(_NOT_QUEUED, 1, GENERATION)
    if generation is None:
        return False
    job_id = f"wake-{int(generation)}"
    queue = rq.Queue(QUEUE, connection=redis, serializer="json")
    try:
        # unique: two jobs of one id would take each other's record away, and that ends the worker
        queue.enqueue_call(JOB, job_id=job_id, timeout=JOB_TIMEOUT_S, result_ttl=0, failure_ttl=0, unique=True)
    except DuplicateJobError:
        return False
    return True


def begin() -> None:
    """Raise the generation: from now on a new wake-up may be queued. The first act of the job. Raises: RedisError."""
    runtime.get().redis.incr(GENERATION)
