"""What happens by the clock: data, and the few functions it names. Each may run twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import OperationalError

from jobs import exchange, queues
from oauth import arrivals, refresh
from widget_backend.accounts.models import SecurityEvent
from widget_backend.bridge import held, life, quick_replies_offered, registry, runtime, split, wake
from widget_backend.bridge.errors import EndError, Unregistered
from widget_backend.bridge.inbox import NEW
from widget_backend.bridge.models import Gate, Inbox, Parked, Worker
from widget_backend.bridge.tenancy import transaction

log = structlog.get_logger()

SWEEP = "sweep"
SECURITY_EVENTS_FOR = timedelta(days=90)
AT_ONCE = 8
"""Ends that one schedule asks at a time."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One job by the clock. `ttl_s`: an unstarted one is forgotten after that, so that none pile up while workers are away."""

    name: str
    queue: str
    run: Callable[[], None]
    every_s: int
    ttl_s: int
    timeout_s: int = 300


def sweep() -> None:
    """Look for due work, whatever wake-ups were lost."""
    exchange.run()


def release_held() -> None:
    """Let go of echoes that waited for a call which never closed."""
    with transaction(None) as session:
        gates = session.execute(select(Gate.account_id, Gate.end_id)).all()
    for account_id, end_id in gates:
        with _alone("release_held", end_id):
            with transaction(account_id) as session:
                waits = session.scalar(select(Parked.id).where(Parked.end_id == end_id).limit(1))
            if waits is not None and held.release_overdue(account_id, end_id):
                wake.poke()


def check_ends() -> None:
    """Ask every end that should work whether it does; what only needs to be registered again is."""
    with transaction(None) as session:
        gates = session.execute(select(Gate.account_id, Gate.end_id).where(Gate.is_open)).all()
    _side_by_side("check_ends", _check, [(row.account_id, row.end_id) for row in gates])


def _check(account_id: UUID, end_id: UUID) -> None:
    try:
        try:
            registry.adapter(life.snapshot(account_id, end_id)).check()
        except Unregistered as error:
            log.warning("end_registered_again", end=str(end_id), reason=error.reason)
            life.connect(account_id, end_id)
    except EndError as error:
        life.mark_lost(account_id, end_id, error)
        log.warning("end_check_failed", end=str(end_id), reason=error.reason)


def _side_by_side(schedule: str, act: Callable[[UUID, UUID], None], ends: Sequence[tuple[UUID, UUID]]) -> None:
    """Do something that asks the outside with every end, a few at a time: the other schedules wait for the slow and the dead among them."""

    def one(end: tuple[UUID, UUID]) -> None:
        with _alone(schedule, end[1]):
            act(*end)

    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix=schedule)
    try:
        list(pool.map(one, ends))
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _alone(schedule: str, whose: UUID) -> Iterator[None]:
    """Let trouble that nobody expected with one end, or account, not keep the others from their turn (docs/decisions/0010)."""
    try:
        yield
    except OperationalError:
        raise  # the database is away: for all of them
    except Exception:
        log.exception("schedule_failed_for_one", schedule=schedule, whose=str(whose))


def keep_house() -> None:
    """Make next months' partitions, forget old hooks, parts whose end never came, and dead workers; close what waits in vain."""
    days = runtime.get().config.inbox_days
    with transaction(None) as session:
        session.execute(text("select mostik_make_partitions(2)"))
        session.execute(delete(Inbox).where(Inbox.received_at < func.now() - timedelta(days=days), Inbox.state != NEW))
        session.execute(delete(SecurityEvent).where(SecurityEvent.at < func.now() - SECURITY_EVENTS_FOR))
        session.execute(delete(Worker).where(Worker.beat_at < func.now() - timedelta(minutes=10)))
        accounts = session.scalars(select(Gate.account_id).distinct()).all()
    split.forget_strangers()
    for account_id in accounts:
        with _alone("close_changes", account_id):
            held.close_changes(account_id)


def pull_everything() -> None:
    """Have every end pulled now: at start, since hooks may have come while we were down."""
    with transaction(None) as session:
        session.execute(update(Gate).where(Gate.pull_at.is_not(None)).values(pull_at=func.now()))


def take_installs() -> None:
    """Turn the codes that providers brought by themselves into tokens."""
    arrivals.take_all()


def refresh_idle() -> None:
    """Refresh the pairs that nobody has used for long, before they die of it."""
    with transaction(None) as session:
        gates = session.execute(select(Gate.account_id, Gate.end_id)).all()
    _side_by_side("refresh_idle", refresh.keep_alive, [(row.account_id, row.end_id) for row in gates])


def write_replies() -> None:
    """Give the shared quick replies, where they have changed, to the CRMs that keep a list of their own."""
    _side_by_side("write_replies", quick_replies_offered.write, quick_replies_offered.due())


def all_schedules() -> list[Schedule]:
    """Return what the cron process enqueues."""
    every = runtime.get().config.sweep_s
    return [
        Schedule(SWEEP, queues.EXCHANGE, sweep, every, ttl_s=3 * every, timeout_s=wake.JOB_TIMEOUT_S),
        Schedule("release_held", queues.SCHEDULES, release_held, 20, ttl_s=60),
        Schedule("keep_house", queues.SCHEDULES, keep_house, 3600, ttl_s=3600),
        Schedule("take_installs", queues.SCHEDULES, take_installs, 5, ttl_s=60, timeout_s=120),
        Schedule("forget_departed", queues.SCHEDULES, arrivals.forget_departed, 24 * 3600, ttl_s=24 * 3600),
        Schedule("refresh_idle", queues.SCHEDULES, refresh_idle, 6 * 3600, ttl_s=3600),
        Schedule("write_replies", queues.SCHEDULES, write_replies, 30, ttl_s=60),
        Schedule("check_ends", queues.SCHEDULES, check_ends, 300, ttl_s=300, timeout_s=280),
    ]
